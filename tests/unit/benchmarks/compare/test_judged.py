from types import SimpleNamespace

import pytest

from benchmarks.compare.errors import RunFailedError
from benchmarks.compare.job import Kind, Mode
from benchmarks.compare.marks import Tally
from benchmarks.compare.measure import Sample, _judged
from benchmarks.compare.process_tree import Usage
from benchmarks.compare.topics import Topic
from benchmarks.compare.works import Work

TOPIC = Topic("t", (600, 400))
WATCHED = SimpleNamespace(peak_rss=50 * 1_048_576)


def judged(tally, *, seen, cpu=1.0, kind=Kind.NOOP, seconds=0.0):
    """What the driver makes of a run of one second."""
    work = Work(name="w", mode=Mode.SINGLE, kind=kind, seconds=seconds)
    first = Sample(at=0.0, seen=0, usage=Usage(cpu_seconds=0.0, rss_bytes=0))
    last = Sample(at=1.0, seen=seen, usage=Usage(cpu_seconds=cpu, rss_bytes=0))
    return _judged(tally, first, last, WATCHED, TOPIC, work, "it")


def test_each_message_once_is_a_run():
    """The whole topic, nothing missing, nothing twice."""
    found = judged(Tally(seen=1_000, missing=0, twice=0), seen=1_000)
    assert (found.msgs_per_second, found.is_whole, found.rss_mb) == (1_000, True, 50)


def test_part_of_a_topic_is_a_run():
    """A window that ends before the topic does leaves the rest to nobody."""
    assert not judged(Tally(seen=300, missing=700, twice=0), seen=300).is_whole


@pytest.mark.parametrize("tally", [Tally(seen=1_000, missing=0, twice=1), Tally(seen=999, missing=1, twice=0)])
def test_lost_and_repeated_messages_void_a_run(tally):
    """No rate is won by dropping or repeating work."""
    with pytest.raises(RunFailedError, match="void"):
        judged(tally, seen=1_000)


def test_computing_that_was_not_done_voids_a_run():
    """1,000 messages of 1 ms take a second of CPU; a tenth of it cannot have done them."""
    with pytest.raises(RunFailedError, match="cannot have done the work"):
        judged(Tally(seen=1_000, missing=0, twice=0), seen=1_000, cpu=0.1, kind=Kind.CPU, seconds=0.001)
