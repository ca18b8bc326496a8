"""Others who write what is the operator's, again and again, while the resource is edited all the time.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from troublemaker import Troublemaker

from parallel_consumer_operator.control import PAUSE_SECONDS

pytestmark = pytest.mark.cluster
STORM_SECONDS = 15.0
STORM_SECONDS_AT_MOST = 90.0
"""On a busy machine a pass that was overtaken by others begins anew, and objects are defended seldom."""
DEFENDED = {"configmaps", "deployments", "serviceaccounts"}
BETWEEN_BLOWS_SECONDS = 0.2
QUIET_SECONDS = 6.0
"""Passes over a resource whose pods are not ready come every 5 s."""
SETTLED_WITHIN_SECONDS = 40.0
"""The cluster's own controllers go on with what the storm left, and the status tells of it."""
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
THEIRS = {"containers": [{"name": "consumer", "image": "theirs:1"}]}
BLOWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # who: (whose object, what kind of patch, what they write)
    "empties": ("configmaps/orders-settings", MERGE, {"data": {"runtime.yaml": "execution: {}"}}),
    "lowers": (
        "configmaps/orders-settings", MERGE,
        {"data": {"runtime.yaml": "generation: 1\nexecution: {max_in_flight: 1}"}},
    ),
    "scales": ("deployments/orders", MERGE, {"spec": {"replicas": 2, "revisionHistoryLimit": 9}}),
    "rolls": ("deployments/orders", STRATEGIC, {"spec": {"template": {"spec": THEIRS}}}),
    "relabels": ("deployments/orders", MERGE, {"metadata": {"labels": {"app.kubernetes.io/instance": "theirs"}}}),
    "mounts": ("serviceaccounts/orders", MERGE, {"automountServiceAccountToken": True}),
}  # fmt: skip


class Vandals:
    """One writer for each blow, through kubectl's proxy and not through the operator's."""

    def __init__(self, server: str, namespace: str) -> None:
        self.struck: Counter[str] = Counter()
        self._server, self._namespace = server, namespace
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._strike, args=(who,), daemon=True) for who in BLOWS]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; the last blow was struck when this returns."""
        self._ended.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(20)

    def _strike(self, who: str) -> None:
        place, kind, body = BLOWS[who]
        group = "apis/apps/v1" if place.startswith("deployments") else "api/v1"
        url = f"{self._server}/{group}/namespaces/{self._namespace}/{place}?fieldManager={who}"
        while not self._ended.wait(BETWEEN_BLOWS_SECONDS):
            request = urllib.request.Request(  # noqa: S310 - ours
                url, json.dumps(body).encode(), {"Content-Type": kind}, method="PATCH"
            )
            try:
                urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - ours
            except urllib.error.HTTPError as error:
                error.close()
            else:
                self.struck[who] += 1


@pytest.fixture
def vandals(lab: Any, troubled: tuple[Any, Troublemaker]) -> Iterator[Vandals]:
    """Not begun yet."""
    made = Vandals(troubled[1].upstream, lab.namespace)
    yield made
    made.stop()


def consumer(lab: Any, value: int) -> dict[str, Any]:
    """Return the resource with this maxInFlight, which is not tuned."""
    manifest: dict[str, Any] = lab.consumer(execution={"maxInFlight": value}, tuning={"mode": "Off"})
    return manifest


def is_told(lab: Any, value: int) -> bool:
    """Whether the status tells of the present spec, and of this maxInFlight in it."""
    resource = lab.get("pcon", "orders")
    status = resource.get("status", {})
    knobs = {knob["name"]: knob["value"] for knob in status.get("effective", {}).get("knobs", [])}
    observed = status.get("observedGeneration") == resource["metadata"]["generation"]
    return observed and knobs.get("maxInFlight") == value


def is_right(lab: Any, value: int) -> bool:
    """Whether every object is as the spec says, whoever wrote it last, and the status knows."""
    settings = lab.settings()
    workload, account = lab.get("deployment", "orders"), lab.get("serviceaccount", "orders")
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return (
        is_told(lab, value)
        and settings["execution"].get("max_in_flight") == value
        and settings["generation"] == lab.status()["effective"]["configGeneration"]
        and (workload["spec"]["replicas"], workload["spec"]["revisionHistoryLimit"]) == (1, 3)
        and container["image"] != "theirs:1"
        and workload["metadata"]["labels"]["app.kubernetes.io/instance"] == "orders"
        and account["automountServiceAccountToken"] is False
    )


def test_a_storm_of_writers_ends_with_the_spec(lab: Any, troubled: tuple[Any, Troublemaker], vandals: Vandals) -> None:
    """Each edit is observed in the storm; after it all is as the spec says, and writing ends."""
    operator, maker = troubled
    lab.apply(consumer(lab, 100))
    lab.eventually(lambda: is_told(lab, 100))
    lab.done("label", "deployment", "orders", "team=shop")
    before, began = len(maker.written), time.monotonic()
    vandals.start()
    value = 100
    while (elapsed := time.monotonic() - began) < STORM_SECONDS or (
        not defended(Counter(maker.written[before:])) and elapsed < STORM_SECONDS_AT_MOST
    ):
        value += 1
        lab.apply(consumer(lab, value))
        lab.eventually(lambda wanted=value: is_told(lab, wanted), seconds=20)
    vandals.stop()
    lab.eventually(lambda: is_right(lab, value), seconds=30)
    assert lab.get("deployment", "orders")["metadata"]["labels"]["team"] == "shop"
    writes, seconds = Counter(maker.written[before:]), time.monotonic() - began
    assert min(vandals.struck[who] for who in BLOWS) >= 10, vandals.struck
    fought_for_at_its_own_pace(writes, seconds)
    lab.eventually(lambda: is_quiet(maker), seconds=SETTLED_WITHIN_SECONDS)
    assert operator.process.poll() is None
    assert [line for line in operator.lines() if line["event"] == "pass broke"] == []


def is_quiet(maker: Troublemaker) -> bool:
    """Whether nothing is written for a while."""
    before = len(maker.written)
    time.sleep(QUIET_SECONDS)
    return len(maker.written) == before


def defended(writes: Counter[str]) -> bool:
    """Whether every object was written back three times at least."""
    return {path.rsplit("/", 2)[-2] for path, count in writes.items() if count >= 3} >= DEFENDED


def fought_for_at_its_own_pace(writes: Counter[str], seconds: float) -> None:
    """Every object was defended, and none was written more often than once a pass, however often others wrote it."""
    assert defended(writes), writes
    passes = seconds / PAUSE_SECONDS
    assert {path: count for path, count in writes.items() if "/events" not in path and count > passes} == {}
