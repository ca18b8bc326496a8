"""Members of a group side by side, what runs again after one is killed, and blocking calls against the ideal."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.compare import marks, ratios
from benchmarks.compare.job import Kind, Mode
from benchmarks.compare.measure import Pace, run
from benchmarks.compare.topics import Contents
from benchmarks.compare.works import Size, System, Work
from benchmarks.figures.figure import Bench, Figure, Member

_LONG = Contents(messages=1_000_000)
_SHORT = Contents(messages=100_000)
_BLOCKING = Contents(messages=2_000)
_WAITING = Work(name="io5", mode=Mode.ASYNC, kind=Kind.IO, seconds=0.005, max_in_flight=64)
_JOIN_MESSAGES = 5_000
_WATCH_SECONDS = 8.0
_KILLS = 3
_FINISH_SECONDS = 180.0
"""The killed member's session has to end first: 45 s."""
_WORKERS = (1, 2, 3, 8, 16, 32, 64, 128)
_WHOLE = Pace(warm=0.0, warm_java=0.0, window=600.0)


def members(bench: Bench) -> Iterator[Figure]:
    """Compare the rate of two members with that of one."""
    topic = bench.topic(_LONG)
    with bench.member(_WAITING, topic) as first:
        first.until(lambda: first.seen() > _JOIN_MESSAGES, "one member")
        alone = first.rate(_WATCH_SECONDS)
        with bench.member(_WAITING, topic, shared=first.shared) as second:
            _until_both_run(second)
            both = first.rate(_WATCH_SECONDS)
    yield Figure(
        name="two members over one", value=both / alone, unit="ratio of rates", at_least=1.8,
        points={"one/s": alone, "two/s": both},
    )  # fmt: skip


def _until_both_run(second: Member) -> None:
    """The second has partitions once the rebalance is over; a joining member uses next to no CPU."""
    used = second.usage().cpu_seconds
    second.until(lambda: second.usage().cpu_seconds > used + 2.0, "two members")


def killed(bench: Bench) -> Iterator[Figure]:
    """Kill a member in the middle of its work; the next one finishes, and the marks tell what ran twice."""
    again = {f"kill {number + 1}": float(_twice_after_a_kill(bench)) for number in range(_KILLS)}
    yield Figure(
        name="messages run again after a kill, 64 in flight, 5 ms", value=max(again.values()), unit="messages",
        points=again,
    )  # fmt: skip


def _twice_after_a_kill(bench: Bench) -> int:
    topic = bench.topic(_SHORT)
    with bench.member(_WAITING, topic) as first:
        first.until(lambda: first.seen() > topic.messages // 3, "the first member")
        first.kill()
        with bench.member(_WAITING, topic, shared=first.shared) as second:
            second.until(lambda: second.seen() == topic.messages, "the second member", _FINISH_SECONDS)
        return marks.tally(marks.mapped(first.shared["marks"]), topic.messages).twice


def blocking(bench: Bench) -> Iterator[Figure]:
    """Compare 2,000 calls of 100 ms with ceil(messages / workers) x 100 ms at each number of workers."""
    topic, servers = bench.topic(_BLOCKING), bench.kafka.bootstrap_servers
    work = Work(name="block100", mode=Mode.THREAD, kind=Kind.IO, size=Size.SHORT, seconds=0.1)
    shares = {}
    for count in _WORKERS:
        each = replace(work, workers=count)
        found = run(System.OURS, each, topic, servers=servers, iterations=0, pace=_WHOLE)
        shares[f"{count} workers"] = found.msgs_per_second / ratios.ideal(each, found.messages)
    yield Figure(
        name="blocking calls", value=min(shares.values()), unit="of the ideal rate", at_least=0.95, points=shares
    )
