"""Watches that stay open and tell nothing any more, as behind a router that forgot the connection.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import time
from typing import Any

import pytest
from troublemaker import Troublemaker

from parallel_consumer_operator.exposition import WATCH_SILENT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
DEAF_SECONDS = 10
"""An edit that no watch told of in so long was not told; one that is told is followed within a second."""
KINDS = 8
"""So many watches, at least, has an operator: the resources' own, and one of each kind of child that there is."""


def limit(lab: Any, name: str) -> int | None:
    """Return maxInFlight as it stands in a resource's settings."""
    value: int | None = lab.settings(name).get("execution", {}).get("max_in_flight")
    return value


def apply(lab: Any, name: str, value: int) -> None:
    """Apply a resource with this maxInFlight; suspended, nothing but a watch has the operator look at it again."""
    lab.apply(lab.consumer(name, execution={"maxInFlight": value}, suspend=True, tuning={"mode": "Off"}))


@pytest.fixture
def silenced(lab: Any, troubled: tuple[Any, Troublemaker]) -> tuple[Any, Troublemaker]:
    """The operator with two resources, `edited` and `drifted`, whose watches have just fallen silent."""
    operator, maker = troubled
    for name in ("edited", "drifted"):
        apply(lab, name, 16)
        lab.eventually(lambda name=name: limit(lab, name) == 16 and lab.status(name).get("observedGeneration") == 1)
    time.sleep(2)  # until all that follows from it was told
    assert maker.silence() >= KINDS
    return operator, maker


def test_a_watch_that_falls_silent_is_noticed_and_opened_anew(lab: Any, silenced: tuple[Any, Troublemaker]) -> None:
    """An edit and a deleted child are untold at first; new watches tell of both, in the same process."""
    operator, _ = silenced
    apply(lab, "edited", 32)
    lab.done("delete", "configmap", "drifted-settings")
    time.sleep(DEAF_SECONDS)
    assert (limit(lab, "edited"), limit(lab, "drifted")) == (16, None)
    # kopf gives a stream 70 s without an event or a bookmark, the children's watches have 90.
    lab.eventually(lambda: limit(lab, "edited") == 32, seconds=90)
    lab.eventually(lambda: limit(lab, "drifted") == 16, seconds=60)
    assert lab.settings("drifted")["generation"] == 2
    assert [line for line in operator.lines() if line["event"] == "the watch has not told of a change yet"]
    lab.eventually(lambda: operator.figure(WATCH_SILENT) < 60)
    assert operator.ask("/healthz") == (200, "ok")
    apply(lab, "edited", 33)
    lab.eventually(lambda: limit(lab, "edited") == 33, seconds=15)
    assert operator.process.poll() is None


def test_watches_that_stay_silent_have_the_operator_restarted(lab: Any, silenced: tuple[Any, Troublemaker]) -> None:
    """New watches tell nothing either: the probe fails within 180 s, and the process after it follows the edit."""
    operator, maker = silenced
    maker.deaf.set()
    apply(lab, "edited", 32)
    lab.eventually(lambda: operator.figure(WATCH_SILENT) > 60, seconds=120)
    assert operator.ask("/healthz") == (200, "ok")
    code, said = lab.eventually(lambda: (answer := operator.ask("/healthz"))[0] == 503 and answer, seconds=150)
    assert (code, operator.ask("/readyz")[0]) == (503, 503)
    assert "the watch has told nothing of what changed" in said
    assert limit(lab, "edited") == 16
    operator.end()  # as the kubelet does
    operator.start()
    lab.eventually(lambda: limit(lab, "edited") == 32, seconds=30)
    assert operator.ask("/healthz") == (200, "ok")
