"""Chains: messages of one shard that the loop runs one after the other, with no way back and forth between them."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer_runtime.engines.async_ import AsyncEngine
from consumer_runtime.engines.engine import Completions, FailureKind
from consumer_runtime.handler import batch
from consumer_runtime.ledger.offsets import PartitionOffsets
from consumer_runtime.message import Message
from tests.unit.consumer_runtime.engines.conftest import Drive

Make = Callable[..., AsyncEngine]


def chain(*values: bytes, key: bytes = b"a", assignment: PartitionOffsets | None = None) -> list[Message]:
    """Return linked messages of one key; their offsets are 0, 1, ..."""
    made = [Message("orders", 0, offset, key, value, assignment=assignment) for offset, value in enumerate(values)]
    for earlier, later in pairwise(made):
        earlier.follower = later
    return made


def collect(engine: AsyncEngine, count: int, seconds: float = 5.0) -> list[Completions]:
    """Wait until so many messages are back; return what each look brought."""
    found: list[Completions] = []
    deadline = time.monotonic() + seconds
    while sum(len(each.done) + len(each.failures) + len(each.bounced) for each in found) < count:
        assert time.monotonic() < deadline, found
        engine.wait(0.05)
        found += [more for more in [engine.collect()] if more is not None]
    return found


@pytest.mark.parametrize("waits", [False, True])
def test_a_chain_runs_one_after_the_other_between_others(make_async: Make, *, waits: bool):
    """Two chains take turns where calls do not wait, and neither has two calls at once where they do."""
    begun: list[tuple[bytes, int]] = []
    running: Counter[bytes] = Counter()

    async def work(each: Message) -> None:
        begun.append((each.key, each.offset))
        running[each.key] += 1
        assert running[each.key] == 1
        if waits:
            await asyncio.sleep(0.001)
        running[each.key] -= 1

    engine = make_async(work)
    engine.submit([chain(*[b""] * 5, key=key)[0] for key in (b"a", b"b")])
    found = collect(engine, 10)
    assert [len(each.failures) for each in found] == [0] * len(found)
    assert begun == [(key, offset) for offset in range(5) for key in (b"a", b"b")]
    assert sum(each.followers for each in found) == 8


@pytest.mark.parametrize("outcome", [b"raise", b"hang"])
def test_a_failure_or_timeout_hands_back_what_has_not_begun(make_async: Make, outcome: bytes):
    """In order, in the same Completions, and linked to nothing any more; other chains go on."""
    ran: list[tuple[bytes, int]] = []

    async def work(each: Message) -> None:
        ran.append((each.key, each.offset))
        if each.value == b"raise":
            raise ValueError("bad")
        if each.value == b"hang":
            await asyncio.sleep(60)

    engine = make_async(work, task_timeout_ms=100)
    broken = chain(b"", outcome, b"", b"")
    engine.submit([broken[0], chain(b"", b"", key=b"b")[0]])
    found = collect(engine, 6)
    (failing,) = [each for each in found if each.failures]
    assert [each.message for each in failing.failures] == [broken[1]]
    assert failing.failures[0].kind is (FailureKind.ERROR if outcome == b"raise" else FailureKind.TIMEOUT)
    assert failing.bounced == broken[2:]
    assert [each.follower for each in broken[1:]] == [None] * 3
    assert sorted(ran) == [(b"a", 0), (b"a", 1), (b"b", 0), (b"b", 1)]
    assert sum(each.followers for each in found) == 4


@pytest.mark.parametrize("given_up", ["is_leaving", "is_closed"])
def test_a_chain_ends_where_its_partition_is_given_up(make_async: Make, given_up: str):
    """The call under way ends; the next ones do not begin, so that a revoke waits for one call and not for a chain."""
    assignment = PartitionOffsets("orders", 0, start=0)
    given_up_now = threading.Event()
    ran: list[int] = []

    async def work(each: Message) -> None:
        ran.append(each.offset)
        await asyncio.to_thread(given_up_now.wait, 10)

    engine = make_async(work)
    messages = chain(*[b""] * 50, assignment=assignment)
    engine.submit([messages[0]])
    while not ran:
        time.sleep(0.001)
    assignment.is_leaving, assignment.is_open = given_up == "is_leaving", given_up != "is_closed"
    given_up_now.set()
    found = collect(engine, 50)
    assert ran == [0]
    assert [message for each in found for message in each.done] == [messages[0]]
    assert [message for each in found for message in each.bounced] == messages[1:]
    assert sum(each.followers for each in found) == 49


@pytest.mark.parametrize("size", [0, 3])
def test_what_the_loop_did_not_get_to_is_not_begun_once_its_partition_is_given_up(make_async: Make, size: int):
    """While a handler blocks the loop, its partitions may be taken away: what waits for the loop goes back then."""
    assignment = PartitionOffsets("orders", 0, start=0)
    blocked, go_on = threading.Event(), threading.Event()
    ran: list[int] = []

    async def work(each: Message | list[Message]) -> None:
        ran.extend(message.offset for message in (each if isinstance(each, list) else [each]))
        blocked.set()
        go_on.wait(10)

    engine = make_async(batch(size)(work) if size else work)
    messages = [Message("orders", 0, offset, b"%d" % offset, b"", assignment=assignment) for offset in range(9)]
    others = [Message("orders", 1, offset, None, b"") for offset in range(9, 11)]
    engine.submit([*messages, *others])
    assert blocked.wait(5)
    begun = list(ran)
    assignment.is_leaving = True
    go_on.set()
    found = collect(engine, 11)
    assert ran == [*begun, 9, 10]
    assert [message for each in found for message in each.bounced] == messages[len(begun) :]
    assert [message.offset for each in found for message in each.done] == ran
    assert sum(each.followers for each in found) == 0


def test_each_call_of_a_chain_has_its_own_time(make_async: Make):
    """Service time is a call's, not the chain's; so is the oldest start, and the timeout."""

    async def work(each: Message) -> None:
        await asyncio.sleep(0.15)

    engine = make_async(work, task_timeout_ms=400)
    begun = time.monotonic()
    engine.submit([chain(*[b""] * 5)[0]])
    time.sleep(0.55)
    oldest = engine.oldest_started_at()
    assert oldest is not None
    assert oldest - begun > 0.4
    assert sum(len(each.done) for each in collect(engine, 5)) == 5
    calls = engine.statistics().handler_seconds
    assert calls.count == 5
    # A timer may ring up to its clock's resolution early, five times here.
    assert 0.745 <= calls.total_seconds < 1.5
    assert engine.statistics().busy_seconds == pytest.approx(calls.total_seconds)


def test_batches_of_a_handler_stay_together(make_async: Make):
    """Where a handler takes lists, those after a list's messages are a list again; one failure fails the whole list."""
    lists: list[list[tuple[bytes, int]]] = []

    @batch(3)
    async def work(messages: list[Message]) -> None:
        lists.append([(each.key, each.offset) for each in messages])
        failing = any(each.value == b"raise" for each in messages)
        messages.clear()
        if failing:
            raise ValueError("bad list")

    engine = make_async(work)
    chains = [chain(b"", b"raise", b"", key=b"a"), chain(b"", b"", b"", key=b"b"), chain(b"", key=b"c")]
    engine.submit([each[0] for each in chains])
    found = collect(engine, 7)
    assert lists == [[(b"a", 0), (b"b", 0), (b"c", 0)], [(b"a", 1), (b"b", 1)]]
    assert [(each.message.key, each.message.offset) for look in found for each in look.failures] == lists[1]
    assert [message for look in found for message in look.bounced] == [chains[0][2], chains[1][2]]
    assert [message for look in found for message in look.done] == [each[0] for each in chains]


def short(drive: Callable[..., Drive], handler, **knobs: int) -> Drive:
    """Return a drive whose engine has seen that calls are short."""
    made = drive(AsyncEngine, handler, mode="async", **knobs)
    for count in range(1, 100):
        made.offer((None, b""), partition=9)
        made.until_done(count)
        if made.engine.follows > 10:
            return made
    raise AssertionError("calls are not seen to be short")


def test_only_short_calls_are_chained(drive: Callable[..., Drive]):
    """Before any was measured and after long ones there are no chains: what is in one is out of the loop's reach."""

    async def work(each: Message) -> None:
        if each.value:
            await asyncio.sleep(0.02)

    fresh = drive(AsyncEngine, work, mode="async")
    assert fresh.engine.follows == 0
    warm = short(drive, work)
    done = len(warm.done)
    warm.offer(*[(b"a", b"")] * 200)
    warm.until_done(done + 200)
    assert warm.followers > 150
    warm.offer(*[(None, b"long")] * 30)
    warm.until_done(done + 230)
    assert warm.engine.follows == 0
    followers = warm.followers
    warm.offer(*[(b"a", b"long")] * 5)
    warm.until_done(done + 235)
    assert warm.followers == followers


VALUES = st.sampled_from([b"", b"", b"wait", b"once", b"always"])
ARRIVALS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", None]), VALUES), min_size=1, max_size=80)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.lists(ARRIVALS, min_size=1, max_size=4), most=st.integers(1, 5))
def test_order_limits_and_counts_hold_whatever_fails_and_waits(drive: Callable[..., Drive], arrivals, most: int):
    """One call of a key at a time, attempts in offset order, never more calls at once than allowed, nothing lost."""
    running: Counter[bytes] = Counter()
    attempts: dict[bytes, list[int]] = {b"a": [], b"b": [], b"c": []}
    broken: list[str] = []

    async def work(each: Message) -> None:
        if running[each.key] and each.key:
            broken.append(f"two of {each.key!r} at once")
        running[each.key] += 1
        if running.total() > most:
            broken.append(f"{running.total()} calls at once")
        if each.key:
            attempts[each.key].append(each.offset)
        if each.value == b"wait":
            await asyncio.sleep(0)
        running[each.key] -= 1
        if each.value == b"always" or (each.value == b"once" and each.attempt == 1):
            raise ValueError("bad")

    made = short(drive, work, max_retries=2, max_in_flight=most)
    before = len(made.done)
    total = good = 0
    for arrival in arrivals:
        made.offer(*arrival)
        total += len(arrival)
        good += sum(value != b"always" for _, value in arrival)
        made.turn()
    made.until(lambda: len(made.done) - before == good and made.in_flight == 0 and made.shards.is_empty)
    failed_for_good = {each.message.offset for each in made.failures if each.message.attempt == 3}
    assert broken == []
    assert len(failed_for_good) == total - good
    assert all(offsets == sorted(offsets) for offsets in attempts.values())
    assert (made.shards.waiting, made.assignments[0].lines) == (0, {})
    made.engine.stop(1.0)
