from hypothesis import given
from hypothesis import strategies as st

from consumer_runtime.ledger.window import Window

WINDOWS = st.builds(
    Window,
    max_in_flight=st.integers(1, 100_000),
    max_bytes=st.integers(1_048_576, 2**34),
    poll_batch_size=st.integers(1, 10_000),
)


@given(WINDOWS, st.lists(st.tuples(st.integers(0, 500_000), st.integers(0, 2**35)), max_size=50))
def test_hysteresis_never_flaps_between_the_marks(window: Window, load: list[tuple[int, int]]):
    """Between the two marks the last answer stays: no load is full and has room again at once."""
    for held, held_bytes in load:
        assert not (window.is_full(held, held_bytes) and window.has_room_again(held, held_bytes))


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


def test_bytes_fill_the_window_too():
    """Few large messages fill it as many small ones do."""
    window = Window(max_in_flight=1_000, max_bytes=10_000_000, poll_batch_size=500)
    assert window.is_full(11, 11_000_000)
    assert not window.is_full(11, 9_000_000)
    assert not window.has_room_again(11, 9_000_000)
    assert window.has_room_again(4, 4_000_000)
