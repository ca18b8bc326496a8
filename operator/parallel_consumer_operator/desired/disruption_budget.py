"""The PodDisruptionBudget: a drain of nodes takes consumers one after the other. Pure."""

from parallel_consumer_operator.desired.owner import Owner, child
from parallel_consumer_operator.port import KindRef, Manifest

DISRUPTION_BUDGET = KindRef("policy/v1", "PodDisruptionBudget")


def disruption_budget(owner: Owner, *, max_unavailable: int) -> Manifest:
    """Return the budget; a pod that is broken anyway never holds up a drain."""
    return child(
        owner,
        api_version=DISRUPTION_BUDGET.api_version,
        kind=DISRUPTION_BUDGET.kind,
        name=owner.name,
        spec={
            "maxUnavailable": max_unavailable,
            "selector": {"matchLabels": owner.selector},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )
