import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer_runtime.contract.settings import RetrySettings
from consumer_runtime.engines.engine import Failure, FailureKind, error_names
from consumer_runtime.errors import StartFailure
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message
from consumer_runtime.retry import Backoff, RetryHeap


def failure(
    attempt: int, error: BaseException | None = None, kind: FailureKind = FailureKind.ERROR, **fields: float
) -> Failure:
    """Return a failed attempt."""
    names = error_names(error or ValueError())
    return Failure(
        message=Message("orders", 0, 0, None, None, attempt=attempt),
        kind=kind, error_class=names[0], error_text="", error_classes=names, started_at=0.0, finished_at=0.0, **fields,
    )  # fmt: skip


def backoff(**fields: object) -> Backoff:
    """Return a backoff without jitter."""
    return Backoff(RetrySettings.model_validate({"jitter_percent": 0} | fields))


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (10, 5.0), (11, None)])
def test_waits_double_up_to_the_cap_until_retries_are_used_up(attempt: int, seconds: float | None):
    """Attempt n waits backoff * 2 ** (n - 1), capped; max_retries counts attempts after the first."""
    delays = backoff(max_retries=10, backoff_ms=1_000, max_backoff_ms=5_000)
    assert delays.delay_seconds(failure(attempt)) == seconds


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 100))
def test_jitter_stays_within_its_share(drawn: float, percent: int):
    """A wait of 1 s with 20 % of jitter lies between 0.8 and 1.2 s."""
    delays = Backoff(RetrySettings(jitter_percent=percent), draw=lambda: drawn)
    assert 1 - percent / 100 <= delays.delay_seconds(failure(1)) <= 1 + percent / 100


def test_retry_after_waits_what_it_says_and_counts():
    """The handler knows better than the backoff, but not for ever."""
    delays = backoff(max_retries=2)

    def after(attempt: int) -> Failure:
        return failure(attempt, kind=FailureKind.RETRY_AFTER, retry_after_seconds=120.0)

    assert [delays.delay_seconds(after(attempt)) for attempt in (1, 2, 3)] == [120.0, 120.0, None]


def test_a_rejected_message_is_never_tried_again():
    """Reject says so."""
    assert backoff(max_retries=10).delay_seconds(failure(1, kind=FailureKind.REJECT)) is None


def test_the_first_policy_that_names_the_class_or_a_parent_holds():
    """The documents' example: rate limits retry 5 times from 60 s, everything else by default."""
    limited = {
        "errors": ["builtins:ConnectionRefusedError"],
        "max_retries": 5,
        "backoff_ms": 60_000,
        "max_backoff_ms": 600_000,
    }
    network = {"errors": ["builtins:OSError"], "max_retries": 1, "backoff_ms": 10, "max_backoff_ms": 10}
    delays = backoff(max_retries=0, policies=[limited, network])
    assert delays.delay_seconds(failure(1, ConnectionRefusedError())) == 60.0
    assert delays.delay_seconds(failure(1, ConnectionResetError())) == 0.01
    assert delays.delay_seconds(failure(2, ConnectionResetError())) is None
    assert delays.delay_seconds(failure(1, ValueError())) is None


def test_a_class_named_by_another_module_than_its_own_is_found():
    """`json:JSONDecodeError` is defined in `json.decoder`: the user names it as it is imported."""
    import json

    policy = {"errors": ["json:JSONDecodeError"], "max_retries": 1, "backoff_ms": 10, "max_backoff_ms": 10}
    delays = backoff(max_retries=0, policies=[policy])
    assert delays.delay_seconds(failure(1, json.JSONDecodeError("no", "", 0))) == 0.01


@pytest.mark.parametrize("name", ["no.such:Error", "builtins:NoSuchError", "builtins:print", "builtins:int"])
def test_a_policy_that_could_never_match_is_refused(name: str):
    """What cannot be imported, or is no exception, is named."""
    policy = {"errors": [name], "max_retries": 1, "backoff_ms": 10, "max_backoff_ms": 10}
    with pytest.raises(StartFailure) as refused:
        backoff(policies=[policy])
    assert refused.value.error.value == name


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 2)), max_size=40), st.floats(0, 100), st.integers(0, 2))
def test_the_heap_gives_what_is_due_in_time_and_forgets_what_is_dropped(waits, now: float, dropped: int):
    """Exactly the due ones, earliest first; a dropped partition's never come."""
    heap, assignments = RetryHeap(), [PartitionOffsets("orders", number, start=0) for number in range(3)]
    for offset, (due_at, partition) in enumerate(waits):
        value = b"x" * offset or None
        heap.add(Message("orders", partition, offset, None, value, assignment=assignments[partition]), due_at)
    gone = heap.drop(assignments[dropped])
    assert len(gone) == sum(partition == dropped for _, partition in waits)
    due = [waits[message.offset] for message in heap.due(now)]
    assert [at for at, _ in due] == sorted(at for at, partition in waits if at <= now and partition != dropped)
    assert len(heap) == len(waits) - len(gone) - len(due)
    assert heap.size_bytes == sum(len(message.value or b"") for message in heap.messages())
