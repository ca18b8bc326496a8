import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvloop

from benchmarks.compare import marks
from benchmarks.compare.handlers import iterations_of, made, made_async
from benchmarks.compare.job import VARIABLE, Job, Kind, Mode, Ordering, of_environment
from benchmarks.compare.marks import Tally
from consumer_runtime.message import Message

BASES = (0, 3)
MESSAGES = 5


@pytest.fixture
def job(tmp_path):
    """A job over two partitions of three and two messages."""
    file = tmp_path / "marks"
    marks.create(file, MESSAGES)
    return Job(
        bootstrap_servers="x:1", topic="t", group="g", mode=Mode.SINGLE, ordering=Ordering.KEY, kind=Kind.NOOP,
        work_seconds=0.001, iterations=50, max_in_flight=1, batch_size=1, workers=1, marks=str(file), bases=BASES,
    )  # fmt: skip


def message(partition, offset):
    """A message without contents."""
    return Message("t", partition, offset, None, b"")


def tally_of(job):
    """What the driver reads."""
    return marks.tally(marks.mapped(job.marks), MESSAGES)


def test_tally_tells_missing_and_repeated_messages_apart(job):
    """A message that ran twice does not make up for one that never ran."""
    handle = made(job)
    for partition, offset in [(0, 0), (0, 1), (1, 1), (1, 1)]:
        handle(message(partition, offset))
    assert tally_of(job) == Tally(seen=3, missing=2, twice=1)


def test_last_message_of_a_partition_is_not_the_first_of_the_next(job):
    """Each message has a mark of its own."""
    handle = made(job)
    for partition, count in enumerate((3, 2)):
        for offset in range(count):
            handle(message(partition, offset))
    assert tally_of(job) == Tally(seen=MESSAGES, missing=0, twice=0)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_work_marks_its_message(job, kind):
    """The driver sees progress whatever the work is."""
    made(Job(**vars(job) | {"kind": kind}))(message(1, 0))
    assert tally_of(job).seen == 1


@pytest.mark.parametrize("kind", [Kind.NOOP, Kind.IO])
async def test_coroutines_mark_too(job, kind):
    """Asynchronous systems are watched in the same way."""
    await made_async(Job(**vars(job) | {"kind": kind}))(message(0, 2))
    assert tally_of(job).seen == 1


def test_io_lasts_as_long_as_it_says(job):
    """A loop that rounds half a millisecond to nothing does not get the work for nothing."""
    handle = made_async(Job(**vars(job) | {"kind": Kind.IO, "work_seconds": 0.0005}))

    async def timed() -> float:
        started = time.monotonic()
        await handle(message(0, 0))
        return time.monotonic() - started

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(uvloop.run, timed()).result() >= 0.0005


def test_marks_of_another_process_are_seen(job):
    """Worker processes mark the same file."""
    handle = made(job)
    child = os.fork()
    if child == 0:
        handle(message(0, 1))
        os._exit(0)
    os.waitpid(child, 0)
    assert tally_of(job).seen == 1


def test_job_survives_the_environment(job, monkeypatch):
    """A system gets the very job that the driver meant."""
    monkeypatch.setenv(VARIABLE, job.environment()[VARIABLE])
    assert of_environment() == job


def test_calibration_is_proportional():
    """Ten times the time is about ten times the turns."""
    assert 5 < iterations_of(0.001) / iterations_of(0.0001) < 20
