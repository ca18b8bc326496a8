"""What the operator tells of itself: its counts move by what was caused, and its log lines say of what they speak.

Those of the tuner are `test_tuning_conditions.py`'s.
`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

from collections import Counter
from typing import Any

import pytest
from troublemaker import Troublemaker

from parallel_consumer_operator.exposition import PASS_SECONDS, PASSES, REQUESTS, RESOURCES, UNDER_WAY

pytestmark = pytest.mark.cluster
PLURALS = {"ConfigMap": "configmaps", "Deployment": "deployments", "ServiceAccount": "serviceaccounts"}
REFUSALS = [
    # code, how often in a row, how the request is counted, and whether the pass counts as failed
    (503, 3, "Unavailable", True),
    (429, 2, "Unavailable", True),
    (409, 2, "Conflict", False),
    (403, 1, "Denied", False),
]
SPEAKS_OF_ONE = ("reconcile", "control", "tune")
"""Modules whose lines are each about one resource."""


def apply(lab: Any, value: int, name: str = "orders") -> None:
    """Apply a resource with this maxInFlight, which is not tuned."""
    lab.apply(lab.consumer(name, execution={"maxInFlight": value}, tuning={"mode": "Off"}))


def is_done(lab: Any, value: int, name: str = "orders") -> bool:
    """Whether the settings have it, and the status tells of the present spec."""
    settings, resource = lab.settings(name), lab.get("pcon", name)
    if not settings or settings["execution"]["max_in_flight"] != value:
        return False
    seen: bool = resource.get("status", {}).get("observedGeneration") == resource["metadata"]["generation"]
    return seen


def writes(maker: Troublemaker, namespace: str) -> Counter[tuple[str, str]]:
    """Return how many writes of each kind the proxy let through, as the metric names them."""
    found: Counter[tuple[str, str]] = Counter()
    for line in maker.written:
        method, _, path = line.partition(" ")
        _, _, rest = path.partition(f"/namespaces/{namespace}/")
        plural, _, name = rest.partition("/")
        kind = next((kind for kind, each in PLURALS.items() if each == plural), "")
        if kind and method == "PATCH":
            found["apply", kind] += 1
        if plural == "parallelconsumers" and name.endswith("/status"):
            found["status", "ParallelConsumer"] += 1
        if plural == "events" and method == "POST":
            found["create", "Event"] += 1
    return found


def counted(operator: Any) -> Counter[tuple[str, str]]:
    """Return the same as the operator counted it."""
    told = [*(("apply", kind) for kind in PLURALS), ("status", "ParallelConsumer"), ("create", "Event")]
    return Counter({(does, kind): round(operator.figure(REQUESTS, operation=does, kind=kind)) for does, kind in told})


def test_requests_and_passes_are_counted_one_by_one(lab: Any, troubled: tuple[Any, Troublemaker]) -> None:
    """As many writes of each kind as a proxy saw, as many durations as passes, and the resources that there are."""
    operator, maker = troubled
    for name in ("orders", "bills"):
        apply(lab, 16, name)
        lab.eventually(lambda name=name: is_done(lab, 16, name))
    apply(lab, 32)
    lab.eventually(lambda: is_done(lab, 32))
    lab.eventually(lambda: counted(operator) == writes(maker, lab.namespace))
    assert counted(operator)["apply", "ConfigMap"] == 3
    assert counted(operator)["apply", "Deployment"] == counted(operator)["apply", "ServiceAccount"] == 2
    lab.eventually(lambda: operator.figure(UNDER_WAY) == 0)
    assert operator.figure(PASSES, outcome="done") >= 3
    assert operator.figure(PASSES, outcome="failed") == 0
    lab.eventually(lambda: operator.figure(PASS_SECONDS, "_count") == operator.figure(PASSES))
    assert 0 < operator.figure(PASS_SECONDS, "_sum") < 60
    assert operator.figure(RESOURCES) == 2
    lab.done("delete", "pcon", "--all")
    lab.eventually(lambda: operator.figure(RESOURCES) == 0)


def test_refusals_are_counted_as_what_they_are(lab: Any, troubled: tuple[Any, Troublemaker]) -> None:
    """Each refused write once, with its kind; only what keeps a pass from its end makes it a failed one."""
    operator, maker = troubled
    apply(lab, 16)
    lab.eventually(lambda: is_done(lab, 16))
    value = 16
    for code, times, outcome, fails in REFUSALS:
        failed = operator.figure(PASSES, outcome="failed")
        refused = operator.figure(REQUESTS, operation="apply", kind="ConfigMap", outcome=outcome)
        refusal = maker.refuse("PATCH", "/configmaps/", code, times=times)
        value += 1
        apply(lab, value)
        lab.eventually(lambda refusal=refusal: refusal.left == 0)
        if code == 403:
            lab.eventually(lambda: lab.condition("Degraded") == ("True", "Denied"))
            value += 1
            apply(lab, value)
        lab.eventually(lambda wanted=value: is_done(lab, wanted))
        assert operator.figure(PASSES, outcome="failed") == failed + (times if fails else 0)
        again = operator.figure(REQUESTS, operation="apply", kind="ConfigMap", outcome=outcome)
        assert again == refused + times, code
    assert maker.refused == sum(times for _, times, _, _ in REFUSALS)


def test_passes_that_wait_are_counted_until_they_end(lab: Any, troubled: tuple[Any, Troublemaker]) -> None:
    """Three resources whose writes the API server holds back are three passes under way, and none afterwards."""
    operator, maker = troubled
    names = ("orders", "bills", "returns")
    for name in names:
        apply(lab, 16, name)
    lab.eventually(lambda: all(is_done(lab, 16, name) for name in names))
    lab.eventually(lambda: operator.figure(UNDER_WAY) == 0)
    maker.held.set()
    for name in names:
        apply(lab, 32, name)
    lab.eventually(lambda: operator.figure(UNDER_WAY) == 3, seconds=8)
    maker.held.clear()
    lab.eventually(lambda: all(is_done(lab, 32, name) for name in names))
    lab.eventually(lambda: operator.figure(UNDER_WAY) == 0)


def test_each_line_of_a_pass_names_its_resource_and_generation(lab: Any, troubled: tuple[Any, Troublemaker]) -> None:
    """Passes that do something, fail, and refuse, over two resources at once: every line is JSON, and says of which."""
    operator, maker = troubled
    for name in ("orders", "bills"):
        apply(lab, 16, name)
    lab.eventually(lambda: is_done(lab, 16) and is_done(lab, 16, "bills"))
    maker.refuse("PATCH", "/configmaps/orders", 503, times=2)
    apply(lab, 32)
    lab.eventually(lambda: is_done(lab, 32))
    lab.apply(lab.consumer("bills", retry={"maxBackoffMs": 10}))
    lab.eventually(lambda: lab.condition("Degraded", "bills") == ("True", "InvalidSpec"))
    lab.eventually(lambda: said(operator, "left as it is"))
    assert len(operator.lines()) == len(operator.log.read_text().splitlines())
    speaking = [line for line in operator.lines() if line["logger"].rpartition(".")[2] in SPEAKS_OF_ONE]
    lacking = [line for line in speaking if not isinstance(line.get("generation"), int) or "resource" not in line]
    assert lacking == []
    orders, bills = f"{lab.namespace}/orders", f"{lab.namespace}/bills"
    assert {line["resource"] for line in speaking} == {orders, bills}
    created = {line["resource"]: line["event"] for line in speaking if line.get("reason") == "Created"}
    assert "Deployment orders" in created[orders]
    assert "Deployment bills" in created[bills]
    assert said(operator, "pass failed") == [(orders, 2)] * 2
    assert set(said(operator, "left as it is")) == {(bills, 2)}


def said(operator: Any, event: str) -> list[tuple[str, int]]:
    """Return resource and generation of each line that says this."""
    return [(line["resource"], line["generation"]) for line in operator.lines() if line["event"] == event]
