import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer_runtime.group_offsets import Anchor, Stand, Target, moved


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("earliest", Target(Anchor.EARLIEST)),
        ("latest", Target(Anchor.LATEST)),
        ("offset:120", Target(Anchor.OFFSET, 120)),
        ("shift:-500", Target(Anchor.SHIFT, -500)),
        ("shift:+5", Target(Anchor.SHIFT, 5)),
        ("time:1970-01-01T00:00:01Z", Target(Anchor.TIME, 1_000)),
        ("time:1970-01-01T00:00:01", Target(Anchor.TIME, 1_000)),
        ("time:1970-01-01T01:00:01+01:00", Target(Anchor.TIME, 1_000)),
    ],
)
def test_a_target_is_read(text, target):
    """A time without a zone is UTC, never the zone of whoever types it."""
    assert Target.parse(text) == target


@pytest.mark.parametrize("text", ["", "latst", "earliest:5", "offset:", "offset:x", "time:yesterday", "shift", "5"])
def test_what_is_no_target_names_what_is(text):
    """All five shapes, in one line."""
    with pytest.raises(ValueError, match=r"must be earliest, latest, offset:NUMBER, time:.* or shift:-NUMBER"):
        Target.parse(text)


@pytest.mark.parametrize(
    ("target", "at_time", "committed", "new"),
    [
        (Target(Anchor.EARLIEST), -1, 50, 10),
        (Target(Anchor.LATEST), -1, 50, 100),
        (Target(Anchor.OFFSET, 70), -1, 50, 70),
        (Target(Anchor.OFFSET, 5), -1, 50, 10),
        (Target(Anchor.OFFSET, 999), -1, 50, 100),
        (Target(Anchor.TIME, 1), 60, 50, 60),
        (Target(Anchor.TIME, 1), -1, 50, 100),
        (Target(Anchor.SHIFT, -20), -1, 50, 30),
        (Target(Anchor.SHIFT, -20), -1, None, 10),
        (Target(Anchor.OFFSET, 50), -1, 50, None),
    ],
)
def test_where_a_group_is_moved(target, at_time, committed, new):
    """Never outside what the partition holds; None where it stands there already."""
    assert moved(Stand(("t", 0), 10, 100, committed), target, at_time=at_time).moved == new


@given(st.sampled_from(list(Anchor)), st.integers(-(10**12), 10**12), st.integers(-1, 200), st.integers(0, 300))
def test_no_target_leaves_the_partition(anchor, number, at_time, committed):
    """Or the next start would find its offset out of range."""
    new = moved(Stand(("t", 0), 10, 100, committed), Target(anchor, number), at_time=at_time).moved
    assert new is None or 10 <= new <= 100


@pytest.mark.parametrize(("committed", "backlog"), [(None, 90), (50, 50), (100, 0), (3, 90)])
def test_the_backlog_is_what_is_left_to_do(committed, backlog):
    """What retention took cannot be done any more."""
    assert Stand(("t", 0), 10, 100, committed).backlog == backlog
