"""A failed call keeps nothing: its exception, its traceback and the message go at once, not at some later collection.

A worker that met large values which failed once grew by some 100 MB before Python looked for cycles.
"""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from consumer_runtime.engines.async_ import AsyncEngine
from consumer_runtime.engines.engine import Engine
from consumer_runtime.engines.process import ProcessEngine
from consumer_runtime.engines.single import SingleEngine
from consumer_runtime.engines.thread import ThreadEngine


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No collection of cycles while the test runs; handlers turn it off, in workers too."""
    gc.collect()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    ("kind", "handler"),
    [
        (SingleEngine, "Holds"),
        (SingleEngine, "HoldsForBatches"),
        (AsyncEngine, "HoldsAsynchronously"),
        (ThreadEngine, "Holds"),
        (ThreadEngine, "HoldsForBatches"),
        (ProcessEngine, "Holds"),
        (ProcessEngine, "HoldsForBatches"),
        (ProcessEngine, "HoldsAsynchronously"),
    ],
)
def test_a_failed_call_keeps_nothing(kind: Callable[..., Engine], handler: str, drive: Any, effects: Any) -> None:
    """After twenty failures the next call finds nothing alive but what it holds itself."""
    driving = drive(kind, handler, worker_pool_size=1)
    for number in range(20):
        driving.offer((b"%d" % number, b"error"))
        driving.until_done(number + 1)
    driving.offer((b"last", b"v"))
    driving.until_done(21)
    assert len(driving.failures) == 20
    assert effects.of(20).what == "alive=1"
