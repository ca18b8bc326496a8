"""The conditions that follow from what pods say, each caused and cured before a real API server; pods are played.

What keeps pods from running at all is `test_diagnosis.py`'s. `Any` stands for the fixtures' types: a conftest cannot be
imported from.
"""

import json
from typing import Any

import pytest
from played_node import ELSEWHERE, PlayedNode

pytestmark = pytest.mark.cluster


def edit(lab: Any, value: int) -> None:
    """Change a setting that running pods take in, so that the operator asks them."""
    patch = json.dumps({"spec": {"execution": {"maxInFlight": value}}})
    lab.done("patch", "pcon", "orders", "--type=merge", "-p", patch)


def conditions(lab: Any) -> dict[str, tuple[str, str]]:
    """Return status and reason of each condition."""
    return {kind: lab.condition(kind) for kind in ("Ready", "Progressing", "Degraded")}


def test_what_pods_say_becomes_conditions_and_events(lab: Any, operator: Any, node: PlayedNode) -> None:
    """From a pod that waits, over one without partitions, to one that does not follow or not answer, and back."""
    expected, complete = ("False", "AsExpected"), ("False", "Complete")
    lab.apply(lab.consumer(podTemplate=ELSEWHERE))
    waiting = {"Ready": ("False", "PodsNotReady"), "Progressing": ("True", "WaitingForPods")}
    # Where there is a scheduler it says, rightly, that no node takes the pod: Degraded is not looked at yet.
    lab.eventually(lambda: conditions(lab).items() >= waiting.items())

    node.answers = {"assigned_partitions": 0}
    node.bring_up({"orders"})
    idle = {"Ready": ("False", "NoPartitions"), "Progressing": complete, "Degraded": expected}
    lab.eventually(lambda: conditions(lab) == idle)

    node.answers = {}
    edit(lab, 32)
    running = {"Ready": ("True", "Running"), "Progressing": complete, "Degraded": expected}
    lab.eventually(lambda: conditions(lab) == running)
    assert "maxInFlight" in lab.eventually(lambda: lab.events("SettingsApplied"))[-1]

    node.answers = {"config_generation": 1}
    edit(lab, 33)
    stuck = {
        "Ready": ("False", "SettingsNotApplied"),
        "Progressing": ("True", "ApplyingSettings"),
        "Degraded": ("True", "SettingsNotApplied"),
    }
    lab.eventually(lambda: conditions(lab) == stuck)
    assert "is not in force in orders-" in lab.eventually(lambda: lab.events("SettingsNotApplied"))[0]

    node.silent = True
    edit(lab, 34)
    lab.eventually(lambda: conditions(lab)["Degraded"] == ("True", "PodsUnreachable"))
    assert "check NetworkPolicies" in lab.eventually(lambda: lab.events("PodsUnreachable"))[0]

    node.silent, node.answers = False, {}
    edit(lab, 35)
    lab.eventually(lambda: conditions(lab) == running)
    assert lab.eventually(lambda: lab.events("Recovered"))
