"""What kopf hears, handed on: a resource changed, or is gone. Decorators only; nothing is decided here.

`on.event` alone: daemons and create/update handlers would put a finalizer or annotations on people's objects.
"""

from typing import Any

import kopf

from parallel_consumer_operator.control import Control
from parallel_consumer_operator.kinds import RESOURCE
from parallel_consumer_operator.mirror import Mirror
from parallel_consumer_operator.port import Key
from parallel_consumer_operator.resource import names


def registry(control: Control, mirror: Mirror) -> kopf.OperatorRegistry:
    """Return kopf's registry with our handlers; what is told is in the mirror before a loop is woken for it."""
    made = kopf.OperatorRegistry()

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=made)
    async def _resource(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's own names
        manifest = {**body, "metadata": dict(body["metadata"])}
        if type == "DELETED":
            mirror.drop(RESOURCE, manifest)
            control.gone(Key(body["metadata"]["namespace"], body["metadata"]["name"]), body["metadata"]["uid"])
        else:
            mirror.keep(RESOURCE, manifest)
            control.changed(manifest)

    @kopf.on.login(registry=made)
    def _login(**said: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**said) or kopf.login_with_kubeconfig(**said)

    return made


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: nothing is stored on objects.

    Without scanning neither namespaces nor definitions need to be read: least privilege, in both modes.
    """
    made = kopf.OperatorSettings()
    made.scanning.disabled = True
    made.posting.enabled = False
    made.peering.standalone = True
    # Handlers only wake loops: there is nothing to wait for at the end.
    made.queueing.idle_timeout = 1.0
    made.queueing.exit_timeout = 0.5
    return made
