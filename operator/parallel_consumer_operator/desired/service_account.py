"""The pods' ServiceAccount: a name of their own, and no token, since the runtime never talks to Kubernetes. Pure."""

from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.port import Manifest


def service_account(owner: Owner) -> Manifest:
    """Return the ServiceAccount."""
    return child(owner, api_version="v1", kind="ServiceAccount", name=owner.name, automountServiceAccountToken=False)
