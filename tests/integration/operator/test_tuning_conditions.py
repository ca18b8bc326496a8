"""What stands in the tuner's way, each caused and cured: as a condition, as an event, and in the operator's own counts.

The operator is a process, Prometheus is real; the pods are played (`played_node`). All at one time, for the windows to
fill only once. `Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_pods import MadePod
from played_node import ELSEWHERE, QUICK, PlayedNode

from consumer_runtime.contract import metrics
from parallel_consumer_operator.exposition import DECISIONS, QUERIES, TUNE_SECONDS, VERDICTS
from parallel_consumer_operator.local.prometheus_server import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
TIMEOUT_MS = 5_000
FENCE = {"maxInFlight": {"max": 16}}
FULL = 0.95


@dataclasses.dataclass(frozen=True)
class Case:
    """One resource: what is wrong with it, and what is told of that."""

    condition: tuple[str, str, str]
    """Type, status and reason."""
    reason: str
    """In `status.tuning`."""
    event: str
    words: str
    """What the event says among other things."""
    tuning: dict[str, Any] = dataclasses.field(default_factory=lambda: {"mode": "Auto"})
    gauges: dict[str, float] = dataclasses.field(default_factory=dict)
    """What its pod shows instead of what a busy one does."""
    without: str = ""
    """What its pod does not show."""


FROZEN = ("TuningActive", "False", "Frozen")
UNMEASURED = ("MetricsAvailable", "False", "MetricsUnavailable")
CASES = {
    "bounded": Case(
        ("Saturated", "True", "AtBound"), "AtBound", "TuningSaturated", "raise spec.tuning.knobs.maxInFlight.max",
        tuning={"mode": "Auto", "knobs": FENCE},
    ),
    "halted": Case(
        ("Saturated", "True", "NoProgress"), "NoProgress", "TuningSaturated", "nothing was finished",
        without=metrics.PROCESSED.name,
    ),
    "failing": Case(FROZEN, "Frozen", "TuningFrozen", "of attempts failed, more than 1 %"),
    "stuck": Case(
        FROZEN, "StuckOffset", "TuningStuckOffset", "a call runs for 100 s, its limit is 5 s",
        gauges={metrics.OLDEST_TASK.name: 100.0},
    ),
    "partial": Case(
        UNMEASURED, "MetricsUnavailable", "TuningMetricsUnavailable", "in_flight is missing",
        tuning={"mode": "Recommend"}, without=metrics.IN_FLIGHT.name,
    ),
    "vanished": Case(
        UNMEASURED, "MetricsUnavailable", "TuningMetricsUnavailable", "cannot be asked", tuning={"mode": "Recommend"},
    ),
    "pressed": Case(
        ("TuningActive", "False", "Waiting"), "MemoryPressure", "TuningStep", "memory is at 95% of its limit",
        gauges={metrics.MEMORY.name: FULL * 400e6},
    ),
}  # fmt: skip
WELL = "well"
"""One with which nothing is wrong: its raise is made, and judged."""
LATER = ("partial", "vanished")
"""These are measured at first, so that the loss is seen."""
HELD = ("bounded", "failing", "stuck", "partial", "vanished")
"""These would be raised if nothing stood in the way."""


@pytest.fixture
def measured(lab: Any, operator: Any, node: PlayedNode, tmp_path: Path) -> Iterator[Any]:
    """Every resource with its pod, measured by a Prometheus of the operator's, which logs every decision anew."""
    operator.end()
    for name, tuning in {WELL: {"mode": "Auto"}, **{name: case.tuning for name, case in CASES.items()}}.items():
        execution = {"maxInFlight": 16, "taskTimeoutMs": TIMEOUT_MS}
        spec = {"tuning": {**tuning, "behavior": QUICK}, "podTemplate": ELSEWHERE, "execution": execution}
        lab.apply(lab.consumer(name, **spec))
    operator.start()
    node.bring_up({WELL, *CASES})
    operator.end()
    for name in CASES.keys() - set(LATER):
        cause(lab, node.made[name], name)
    with node.scraped(tmp_path) as address:
        made = dataclasses.replace(
            operator, options=("--prometheus-url", address, "--every-decision"), log=tmp_path / "tuner.log",
            process=None,
        )  # fmt: skip
        made.start()
        yield made
        made.close()


def cause(lab: Any, pod: MadePod, name: str) -> None:
    """Bring about what is wrong with a resource."""
    case = CASES[name]
    pod.gauges.update(case.gauges)
    pod.without |= {case.without} - {""}
    if name == "failing":
        pod.without.discard(metrics.RETRIES.name)
    if name == "vanished":
        ask_elsewhere(lab, name, f"http://127.0.0.1:{free_port()}")


def cure(lab: Any, pod: MadePod, name: str) -> None:
    """Put it right again."""
    healthy = {metrics.OLDEST_TASK.name: 0.02, metrics.MEMORY.name: 100e6}
    pod.gauges.update({key: healthy[key] for key in CASES[name].gauges})
    pod.without.discard(CASES[name].without)
    if name == "failing":
        pod.without.add(metrics.RETRIES.name)
    if name == "vanished":
        ask_elsewhere(lab, name, None)
    if name == "bounded":
        lab.done("patch", "pcon", name, "--type=merge", "-p", '{"spec": {"tuning": {"knobs": null}}}')


def ask_elsewhere(lab: Any, name: str, address: str | None) -> None:
    """Have a resource name another Prometheus, or none."""
    patch = json.dumps({"spec": {"tuning": {"prometheus": {"address": address}}}})
    lab.done("patch", "pcon", name, "--type=merge", "-p", patch)


def is_told(lab: Any, name: str) -> bool:
    """Whether condition and reason are those of what was caused."""
    kind, *told = CASES[name].condition
    reason = lab.status(name).get("tuning", {}).get("reason")
    return (*lab.condition(kind, name), reason) == (*told, CASES[name].reason)


def test_what_stands_in_the_way_is_told_and_counted(lab: Any, measured: Any, node: PlayedNode) -> None:
    """One test for all: the windows fill once, and the counts are those of everything that happened in it."""
    for name in LATER:
        lab.eventually(lambda name=name: lab.condition("MetricsAvailable", name) == ("True", "Measured"))
        cause(lab, node.made[name], name)
    for name, case in CASES.items():
        lab.eventually(lambda name=name: is_told(lab, name))
        lab.eventually(lambda case=case: any(case.words in said for said in lab.events(case.event)), seconds=15)
    what_is_held_back_stays_and_what_presses_is_lowered(lab)
    decisions_are_counted_by_reason_and_verdict(lab, measured)
    questions_are_counted_by_how_they_end(measured)
    each_ends_with_its_cause(lab, node)


def what_is_held_back_stays_and_what_presses_is_lowered(lab: Any) -> None:
    """No raise behind a shut gate or a bound; less at once where memory is short."""
    limits = {name: lab.settings(name)["execution"]["max_in_flight"] for name in CASES}
    assert {limits[name] for name in HELD} == {16}, limits
    assert limits["pressed"] <= 11


def decisions_are_counted_by_reason_and_verdict(lab: Any, operator: Any) -> None:
    """As many as the log has, which has each; it was read before and after, since more are made meanwhile."""
    lab.eventually(lambda: operator.figure(VERDICTS, verdict="NotPaid") >= 1, seconds=60)
    at_least = logged(operator)
    families = {"reason": DECISIONS, "verdict": VERDICTS}
    counted = {(label, value): operator.figure(families[label], **{label: value}) for label, value in at_least}
    at_most = logged(operator)
    wrong = {each: count for each, count in counted.items() if not at_least[each] <= count <= at_most[each]}
    assert wrong == {}
    reasons = {value for label, value in at_least if label == "reason"}
    assert {"LimitBinding", *(case.reason for case in CASES.values())} <= reasons
    assert operator.figure(DECISIONS, phase="Frozen", reason="StuckOffset") >= at_least["reason", "StuckOffset"]
    assert operator.figure(TUNE_SECONDS, "_count") >= sum(at_least["reason", reason] for reason in reasons)


def logged(operator: Any) -> Counter[tuple[str, str]]:
    """Return how many decisions of each reason, and how many verdicts of each kind, are in the log."""
    lines = [line for line in operator.lines() if line["event"] == "tuning decision"]
    reasons = Counter(("reason", line["reason"]) for line in lines)
    return reasons + Counter(("verdict", line["verdict"]) for line in lines if line["verdict"])


def questions_are_counted_by_how_they_end(operator: Any) -> None:
    """One server answers, and at the other address nobody does."""
    assert operator.figure(QUERIES, outcome="Done") >= 10
    assert operator.figure(QUERIES, outcome="Failed") >= 1


def each_ends_with_its_cause(lab: Any, node: PlayedNode) -> None:
    """Once put right, the condition is another, and tuning goes on where it was held back."""
    for name in CASES:
        cure(lab, node.made[name], name)
    for name, case in CASES.items():
        lab.eventually(lambda name=name, case=case: lab.status(name)["tuning"]["reason"] != case.reason)
    for name in LATER:
        lab.eventually(lambda name=name: lab.condition("MetricsAvailable", name) == ("True", "Measured"))
    for name in ("bounded", "failing", "stuck"):
        lab.eventually(lambda name=name: _was_raised(lab, name))


def _was_raised(lab: Any, name: str) -> bool:
    history = lab.status(name)["tuning"]["history"]
    return any((entry["kind"], entry["reason"]) == ("Step", "LimitBinding") for entry in history)
