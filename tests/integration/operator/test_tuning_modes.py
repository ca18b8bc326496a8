"""How far the tuner goes: every mode, per knob, excluded periods, commands and brakes, before a real API server.

The operator is a process, Prometheus is real; the pods are played (`played_node`). Eight resources at one time, for the
windows to fill only once. `Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from played_node import ELSEWHERE, QUICK, PlayedNode

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]
ANNOTATION = "parallelconsumer.dev"


def period(zone: str, *, starts: timedelta) -> dict[str, Any]:
    """Return an excluded period of an hour that begins so long after now, told in another time zone's hours."""
    begin = (datetime.now(UTC) + starts).astimezone(ZoneInfo(zone))
    return {"schedule": f"{begin.minute} {begin.hour} * * *", "durationSeconds": 3_600, "timeZone": zone}


def specs() -> dict[str, dict[str, Any]]:
    """Return `spec.tuning` of each resource."""
    return {
        "off": {"mode": "Off"},
        "recommend": {"mode": "Recommend"},
        "approve": {"mode": "Approve"},
        "auto": {"mode": "Auto"},
        "per-knob": {"mode": "Auto", "knobs": {"maxInFlight": {"mode": "Recommend"}}},
        "excluded": {
            "mode": "Auto",
            "freeze": {"excludedPeriods": [period("Asia/Kolkata", starts=timedelta(minutes=-20))]},
        },
        "not-excluded": {
            "mode": "Auto",
            "freeze": {"excludedPeriods": [period("Asia/Kolkata", starts=timedelta(hours=4))]},
        },
        "frozen": {"mode": "Auto"},
    }


@pytest.fixture
def tuned(lab: Any, operator: Any, node: PlayedNode, tmp_path: Path) -> Iterator[PlayedNode]:
    """Every resource with its pod, measured; the operator begins to tune with its own Prometheus' address."""
    operator.end()
    with_prometheus = {name: {**spec, "behavior": QUICK} for name, spec in specs().items()}
    for name, tuning in with_prometheus.items():
        manifest = lab.consumer(name, tuning=tuning, podTemplate=ELSEWHERE, execution={"maxInFlight": 16})
        manifest["metadata"]["annotations"] = annotations(name)
        lab.apply(manifest)
    operator.start()
    node.bring_up(set(with_prometheus))
    operator.end()
    with node.scraped(tmp_path) as address:
        operator.options = ("--prometheus-url", address, "--every-decision")
        operator.start()
        yield node


def annotations(name: str) -> dict[str, str]:
    """Return what a person said of a resource before it was made."""
    return {f"{ANNOTATION}/tuning": "freeze"} if name == "frozen" else {}


def limit(lab: Any, name: str) -> int:
    """Return maxInFlight as it stands in a resource's settings."""
    value: int = lab.settings(name)["execution"]["max_in_flight"]
    return value


def tuning(lab: Any, name: str) -> dict[str, Any]:
    """Return a resource's `status.tuning`."""
    found: dict[str, Any] = lab.status(name).get("tuning", {})
    return found


def advice(lab: Any, name: str) -> dict[str, Any]:
    """Return a resource's recommendation, empty while there is none."""
    found: dict[str, Any] = tuning(lab, name).get("recommendation") or {}
    return found


def kinds(lab: Any, name: str) -> list[tuple[str, str]]:
    """Return kind and reason of each entry of a resource's history."""
    return [(entry["kind"], entry["reason"]) for entry in tuning(lab, name).get("history", [])]


def say(lab: Any, name: str, key: str, value: str) -> None:
    """Annotate a resource as a person does."""
    lab.done("annotate", "pcon", name, "--overwrite", f"{ANNOTATION}/{key}={value}")


def test_each_mode_goes_as_far_as_it_may(lab: Any, operator: Any, tuned: PlayedNode) -> None:
    """One test for all of it: every resource needs the same raise, and only its mode decides what becomes of it."""
    auto_applies_verifies_and_takes_back(lab, tuned)
    recommend_writes_only_the_status(lab, tuned)
    approve_refuses_a_stale_id_and_carries_out_the_present_one(lab, tuned)
    nothing_moves_what_must_not_move(lab, tuned)
    what_a_person_lifts_moves(lab, tuned)
    told_once(lab, operator)
    the_brake_stops_all(lab, operator, tuned)
    its_log_is_decided_the_same_again(operator)


def auto_applies_verifies_and_takes_back(lab: Any, node: PlayedNode) -> None:
    """The step is applied; the played rate does not rise with it, so it is found not to pay, and taken back."""
    lab.eventually(lambda: ("Step", "LimitBinding") in kinds(lab, "auto"), seconds=90)
    lab.eventually(lambda: ("Rollback", "DidNotPay") in kinds(lab, "auto"), seconds=90)
    lab.eventually(lambda: limit(lab, "auto") < 32)
    (step, *_) = [entry for entry in tuning(lab, "auto")["history"] if entry["kind"] == "Step"]
    assert (step["fromValue"], step["toValue"], step["verdict"]) == (16, 32, "NotPaid")
    assert tuning(lab, "auto")["blocked"][0]["knob"] == "maxInFlight"
    lab.eventually(lambda: ("Step", "LimitBinding") in kinds(lab, "not-excluded"), seconds=60)


def recommend_writes_only_the_status(lab: Any, node: PlayedNode) -> None:
    """The same raise as advice, in mode Recommend and for a knob of that mode; settings keep their first generation."""
    for name in ("recommend", "per-knob"):
        found = lab.eventually(lambda name=name: advice(lab, name), seconds=60)
        assert (found["knobs"], found["reason"]) == ({"maxInFlight": 32}, "LimitBinding")
        assert (limit(lab, name), lab.settings(name)["generation"]) == (16, 1)


def approve_refuses_a_stale_id_and_carries_out_the_present_one(lab: Any, node: PlayedNode) -> None:
    """An id that is not the present one changes nothing and is answered; the right one is carried out once."""
    identity = lab.eventually(lambda: advice(lab, "approve").get("id"), seconds=60)
    say(lab, "approve", "approve", "0badcafe")
    lab.eventually(lambda: ("Command", "CommandRefused") in kinds(lab, "approve"))
    assert "the present one is" in tuning(lab, "approve")["lastCommand"]["outcome"]
    assert limit(lab, "approve") == 16
    identity = advice(lab, "approve").get("id", identity)
    say(lab, "approve", "approve", identity)
    lab.eventually(lambda: ("Step", "LimitBinding") in kinds(lab, "approve"), seconds=40)
    assert tuning(lab, "approve")["lastCommand"]["approve"] == identity
    lab.eventually(lambda: limit(lab, "approve") == 32)


def nothing_moves_what_must_not_move(lab: Any, node: PlayedNode) -> None:
    """Off, excluded and frozen: each says why, and none has left where it began."""
    said = {name: (tuning(lab, name)["phase"], tuning(lab, name)["reason"]) for name in ("off", "excluded", "frozen")}
    assert said == {
        "off": ("Off", "Off"), "excluded": ("Paused", "ExcludedPeriod"), "frozen": ("Frozen", "FrozenByCommand"),
    }  # fmt: skip
    assert "Asia/Kolkata" in tuning(lab, "excluded")["message"]
    assert {limit(lab, name) for name in said} == {16}
    assert kinds(lab, "frozen")[0] == ("Command", "CommandDone")


def what_a_person_lifts_moves(lab: Any, node: PlayedNode) -> None:
    """Resume ends a freeze, an edit ends an excluded period; both are then tuned like the others."""
    say(lab, "frozen", "tuning", "resume")
    freely = '{"spec": {"tuning": {"freeze": {"excludedPeriods": []}}}}'
    lab.done("patch", "pcon", "excluded", "--type=merge", "-p", freely)
    for name in ("frozen", "excluded"):
        lab.eventually(lambda name=name: ("Step", "LimitBinding") in kinds(lab, name), seconds=60)
    assert limit(lab, "off") == 16


def told_once(lab: Any, operator: Any) -> None:
    """Holds that repeat are one entry of the history and no event; a recommendation that stands is one event."""
    decided = [line for line in operator.lines() if line.get("event") == "tuning decision"]
    holds = [line for line in decided if line["name"] == "off"]
    assert len(holds) >= 5
    assert len(kinds(lab, "off")) <= 1
    same = [entry for entry in zip(kinds(lab, "auto"), kinds(lab, "auto")[1:], strict=False) if entry[0] == entry[1]]
    assert [pair for pair in same if pair[0][0] == "Hold"] == []
    advised = [line["id"] for line in decided if line["name"] == "recommend" and line["action"] == "Recommend"]
    events = json.loads(lab.done("get", "events", "--field-selector=involvedObject.name=recommend", "-o", "json"))
    told = [event for event in events["items"] if event["reason"] == "TuningRecommendation"]
    assert len(advised) > len(set(advised)) == len(told)
    assert {event["count"] for event in told} == {1}
    every = json.loads(lab.done("get", "events", "-o", "json"))["items"]
    assert {
        "TuningStep", "TuningStepNotPaid", "TuningRollback", "TuningRecommendation", "TuningCommandRefused",
        "TuningCommandDone",
    } <= {event["reason"] for event in every}  # fmt: skip


def the_brake_stops_all(lab: Any, operator: Any, node: PlayedNode) -> None:
    """The operator-wide brake: every resource says so and keeps the values that it has, until it is taken off."""
    operator.end()
    before = {name: limit(lab, name) for name in specs()}
    free = operator.options
    operator.options = (*free, "--emergency-brake")
    operator.start()
    active = [name for name in specs() if name != "off"]
    lab.eventually(lambda: all(tuning(lab, name)["reason"] == "EmergencyBrake" for name in active), seconds=60)
    assert {name: limit(lab, name) for name in specs()} == before
    operator.end()
    operator.options = free
    operator.start()
    lab.eventually(lambda: all(tuning(lab, name)["reason"] != "EmergencyBrake" for name in active), seconds=60)


def its_log_is_decided_the_same_again(operator: Any) -> None:
    """Every decision of the process, steps, verdicts, commands and brake among them."""
    operator.end()
    run = (sys.executable, "-m", "parallel_consumer_operator", "replay", str(operator.log))
    again = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    decided = sum(line.get("event") == "tuning decision" for line in operator.lines())
    assert f"{decided} decisions, {decided} the same, 0 different" in again.stdout
