"""What kopf hears, handed on: a resource changed, a child of one changed. Decorators only; nothing is decided here.

`on.event` alone: daemons and create/update handlers would put a finalizer or annotations on people's objects.
"""

from typing import Any

import kopf

from parallel_consumer_operator.control import Control
from parallel_consumer_operator.port import Key
from parallel_consumer_operator.resource import names

_CHILDREN = (("", "v1", "configmaps"), ("", "v1", "pods"), ("", "v1", "serviceaccounts"), ("apps", "v1", "deployments"))
_OURS = f"{names.LABEL_MANAGED_BY}={names.FIELD_MANAGER}"


def registry(control: Control) -> kopf.OperatorRegistry:
    """Return kopf's registry with our handlers."""
    made = kopf.OperatorRegistry()

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=made)
    async def _resource(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's own names
        if type == "DELETED":
            control.gone(Key(body["metadata"]["namespace"], body["metadata"]["name"]), body["metadata"]["uid"])
        else:
            control.changed(dict(body))

    @kopf.on.login(registry=made)
    def _login(**said: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**said) or kopf.login_with_kubeconfig(**said)

    async def _child(body: kopf.Body, **_: Any) -> None:
        name = body["metadata"].get("labels", {}).get(names.LABEL_NAME)
        if name:
            control.wake(Key(body["metadata"]["namespace"], name))

    for group, version, plural in _CHILDREN:
        kopf.on.event(group, version, plural, id=f"child-{plural}", registry=made)(_child)
    return made


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: children are filtered by the API server, nothing is stored on objects.

    Without scanning neither namespaces nor definitions need to be read: least privilege, in both modes.
    """
    made = kopf.OperatorSettings()
    made.scanning.disabled = True
    made.posting.enabled = False
    made.peering.standalone = True
    # Handlers only wake loops: there is nothing to wait for at the end.
    made.queueing.idle_timeout = 1.0
    made.queueing.exit_timeout = 0.5
    for _, _, plural in _CHILDREN:
        made.watching.label_selectors[plural] = _OURS
    return made
