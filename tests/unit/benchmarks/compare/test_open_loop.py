import numpy as np
import pytest

from benchmarks.compare import marks
from benchmarks.compare.errors import RunFailedError
from benchmarks.compare.handlers import made, made_async
from benchmarks.compare.job import Job, Kind, Mode, Ordering
from benchmarks.compare.open_loop import Offer, _judged
from consumer_runtime.message import Message

OFFER = Offer(per_second=2.0, warm_seconds=1.0, seconds=2.0)


def test_offer_counts_what_is_sent_and_what_is_not_counted():
    """Two a second over a second of warm-up and two of measuring."""
    assert (OFFER.messages, OFFER.warm_messages) == (6, 2)


def test_latency_counts_from_when_a_message_was_due():
    """What a producer or a system delays is latency; the handler's own time is told apart; the warm-up is left out."""
    due = [10.0, 10.5, 11.0, 11.5, 12.0, 12.5]
    places = [0, 3, 1, 4, 2, 5]
    times = np.zeros((6, 2))
    for number, place in enumerate(places):
        late = 99.0 if number < OFFER.warm_messages else 0.1
        times[place] = (due[number] + late, due[number] + late + 0.005)
    found = _judged(times.tobytes(), due, places, OFFER)
    assert found.messages == 4
    assert found.p50 == pytest.approx(105.0, abs=0.01)
    assert found.p999 == pytest.approx(105.0, abs=0.01)
    assert found.handler_p99 == pytest.approx(5.0, abs=0.01)


def test_message_without_a_time_voids_the_latency():
    """What never ran has no latency, and must not count as a fast one."""
    with pytest.raises(RunFailedError, match="4 of 4 messages have no time"):
        _judged(np.zeros((6, 2)).tobytes(), [1.0] * 6, list(range(6)), OFFER)


@pytest.mark.parametrize("is_async", [False, True])
async def test_handlers_note_begin_and_end(tmp_path, is_async):
    """Each message has a pair of its own, and waits at least its work between them."""
    file, times = tmp_path / "marks", tmp_path / "times"
    marks.create(file, 5)
    marks.create_times(times, 5)
    job = Job(
        bootstrap_servers="x:1", topic="t", group="g", mode=Mode.ASYNC, ordering=Ordering.KEY, kind=Kind.IO,
        work_seconds=0.002, iterations=1, max_in_flight=1, batch_size=1, workers=1, marks=str(file), bases=(0, 3),
        times=str(times),
    )  # fmt: skip
    message = Message("t", 1, 1, None, b"")
    if is_async:
        await made_async(job)(message)
    else:
        made(job)(message)
    found = marks.times(times)
    assert found[9] - found[8] >= 0.002
    assert [place for place in range(10) if found[place]] == [8, 9]
