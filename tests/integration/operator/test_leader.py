"""Two replicas and one Lease: who works, who stands by, and how long it takes when the leader dies.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster


@pytest.fixture
def replicas(lab: Any, operator: Any, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Two operators on one Lease in the test's namespace; the first one leads."""
    operator.end()
    made = [
        dataclasses.replace(
            operator,
            log=tmp_path / f"{name}.log",
            options=("--leader-elect", "--lease-namespace", lab.namespace, "--identity", name),
            process=None,
        )
        for name in ("first", "second")
    ]
    made[0].start()
    lab.eventually(lambda: holder(lab) == "first")
    made[1].start()
    lab.eventually(lambda: [line for line in made[1].lines() if line["event"] == "standing by"])
    yield made[0], made[1]
    for replica in made:
        replica.close()


def holder(lab: Any) -> str:
    """Return who holds the Lease, empty for nobody."""
    lease = lab.get("lease", "parallel-consumer-operator")
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


def test_the_second_takes_over_within_15_seconds_of_a_kill(lab: Any, replicas: tuple[Any, Any]) -> None:
    """Killed with 9, the leader leaves a Lease that must run out; then the other one works."""
    first, _ = replicas
    lab.apply(lab.consumer())
    lab.eventually(lambda: lab.get("deployment", "orders"))
    assert not [line for line in replicas[1].lines() if line["event"] == "leading"]
    first.end(9)
    began = time.monotonic()
    lab.apply(lab.consumer(replicas=3))
    lab.eventually(lambda: lab.get("deployment", "orders")["spec"]["replicas"] == 3, seconds=15)
    assert holder(lab) == "second"
    assert time.monotonic() - began < 15


def test_a_leader_that_ends_in_order_gives_the_lease_back(lab: Any, replicas: tuple[Any, Any]) -> None:
    """It ends at once, although a resource is looked after, and the other one need not wait for the Lease's end."""
    first, _ = replicas
    lab.apply(lab.consumer())
    lab.eventually(lambda: lab.get("deployment", "orders"))
    began = time.monotonic()
    assert first.end() == 0
    # Half a second on an idle machine; kopf, left to itself, would take five more.
    assert time.monotonic() - began < 4
    lab.eventually(lambda: holder(lab) == "second", seconds=15)


def test_a_leader_that_loses_its_lease_ends_and_says_why(lab: Any, replicas: tuple[Any, Any]) -> None:
    """Someone else in the Lease: the process ends with an error instead of working beside the new leader."""
    first, second = replicas
    second.end()
    lab.done("patch", "lease", "parallel-consumer-operator", "--type=merge", "-p",
             '{"spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600}}')  # fmt: skip
    assert first.process.wait(timeout=20) == 1
    assert "could not be renewed" in first.log.read_text()


def test_a_standby_ends_at_once(replicas: tuple[Any, Any]) -> None:
    """It holds nothing and has nothing to finish."""
    began = time.monotonic()
    assert replicas[1].end() == 0
    assert time.monotonic() - began < 5
