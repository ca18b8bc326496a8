from hypothesis import given
from hypothesis import strategies as st

from consumer_runtime.ledger.window import LOOK_AHEAD_AT_LEAST, Window

WINDOWS = st.builds(
    Window,
    max_in_flight=st.integers(1, 100_000),
    max_bytes=st.integers(1_048_576, 2**34),
    poll_batch_size=st.integers(1, 10_000),
)


@given(WINDOWS, st.integers(0, 500_000), st.integers(0, 2**35), st.integers(0, 2**35))
def test_hysteresis_never_flaps_between_the_marks(window: Window, held: int, draining: int, waiting: int):
    """Between the two marks the last answer stays: no load is full and has room again at once."""
    load = (held, draining + waiting)
    assert not (window.is_full(*load) and window.has_room_again(*load, waiting))


@given(WINDOWS, st.data())
def test_what_waits_for_a_retry_never_keeps_a_drained_window_closed(window: Window, data):
    """Whatever waits, as long as it leaves any room: with nothing else held, fetching begins again."""
    waiting = data.draw(st.integers(0, window.max_bytes - 1))
    assert window.has_room_again(0, waiting, waiting)
    assert not window.has_room_again(0, window.max_bytes, window.max_bytes)


@given(WINDOWS, st.integers(1, LOOK_AHEAD_AT_LEAST // 2 - 1))
def test_a_full_window_drains_a_good_deal_before_it_fetches_again(window: Window, drained: int):
    """Half of the look-ahead: each pause and resume costs the client's prefetch."""
    assert window.is_full(window.high, 0)
    assert not window.has_room_again(window.high - drained, 0)


@given(WINDOWS)
def test_there_is_always_work_for_the_engine(window: Window):
    """The lower mark lies above what may be in flight, or a full engine would starve before fetching begins again."""
    assert window.low >= window.max_in_flight
    assert window.high >= window.low + window.poll_batch_size


@given(WINDOWS, st.integers(1, 10_000))
def test_shares_bound_what_is_held(window: Window, partitions: int):
    """With each partition at its share the whole is at most the ceiling."""
    assert partitions * window.share(partitions) <= max(window.ceiling, partitions)
    assert window.ceiling >= 2 * window.high


def test_look_ahead_does_not_grow_with_many_in_flight():
    """Memory for each further message in flight is that message, not the messages behind it too."""
    small, large = (
        Window(max_in_flight=count, max_bytes=10_000_000, poll_batch_size=500) for count in (4_000, 100_000)
    )
    assert large.high - large.max_in_flight == small.high - small.max_in_flight


def test_bytes_fill_the_window_too():
    """Few large messages fill it as many small ones do."""
    window = Window(max_in_flight=1_000, max_bytes=10_000_000, poll_batch_size=500)
    assert window.is_full(11, 11_000_000)
    assert not window.is_full(11, 9_000_000)
    assert not window.has_room_again(11, 9_000_000)
    assert window.has_room_again(4, 4_000_000)
