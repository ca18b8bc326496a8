"""What a case must have suffered, beside what it did suffer: a run without its faults proves nothing. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

from benchmarks.chaos import draws
from benchmarks.chaos.history import Ending, History
from benchmarks.chaos.payload import Content
from benchmarks.chaos.plan import Case, Family, Fault, Mark, schedule
from benchmarks.chaos.records import Attempt, Outcome


class Suffered(StrEnum):
    """What is counted, as `build/chaos.json` names it."""

    KILLS = "kills"
    """kill -9 of a consumer that held partitions."""
    TERMINATIONS = "terminations"
    """SIGTERM to a consumer that held partitions; those that join and leave again included."""
    BROKER_RESTARTS = "broker_restarts"
    BROKER_PAUSES = "broker_pauses"
    """SIGSTOP that held for its 10 s."""
    JOINS = "joins"
    """Members that joined later, and got partitions."""
    REBALANCES = "rebalances"
    """Partitions that a living member gave up or lost."""
    ADDED_PARTITIONS = "added_partitions"
    """Those of which messages were handled."""
    SETTINGS_CHANGES = "settings_changes"
    """Generations that came into force in some consumer."""
    DEAD_LETTER_TOPIC_AWAY = "dead_letter_topic_away"
    """Absences of 20 s."""
    DEAD_LETTERS_REFUSED = "dead_letters_refused"
    """Publications that failed, as the consumers logged them."""
    EXCEPTIONS = "exceptions"
    """Attempts that raised."""
    HANGS = "hangs"
    BLOCKED_LOOPS = "blocked_loops"
    WORKER_EXITS = "worker_exits"
    POISON = "poison"
    LARGE_VALUES = "large_values"
    """Of 1 MB."""
    NULL_KEYS = "null_keys"
    NULL_VALUES = "null_values"


Counts = Mapping[Suffered, int]
LARGE_BYTES = 900_000
_BY_FAULT = {
    Fault.KILL: Suffered.KILLS,
    Fault.TERMINATE: Suffered.TERMINATIONS,
    Fault.LEAVE: Suffered.TERMINATIONS,
    Fault.RESTART_BROKER: Suffered.BROKER_RESTARTS,
    Fault.RESUME_BROKER: Suffered.BROKER_PAUSES,
    Fault.JOIN: Suffered.JOINS,
    Fault.RESTORE_DEAD_LETTER_TOPIC: Suffered.DEAD_LETTER_TOPIC_AWAY,
}
_BY_MARK = {Mark.HANG: Suffered.HANGS, Mark.BLOCK: Suffered.BLOCKED_LOOPS, Mark.EXIT: Suffered.WORKER_EXITS}
_IN_EVERY_CASE = (
    Suffered.EXCEPTIONS,
    Suffered.POISON,
    Suffered.LARGE_VALUES,
    Suffered.NULL_KEYS,
    Suffered.NULL_VALUES,
)


def expected(case: Case) -> Counts:
    """Return what the case must have suffered at least."""
    scheduled = schedule(case)
    counts = Counter(dict.fromkeys(_IN_EVERY_CASE, 1))
    counts.update(_BY_FAULT[event.fault] for event in scheduled if event.fault in _BY_FAULT)
    counts.update(_BY_MARK[mark] for mark in draws.marked(case).values())
    if Family.MEMBERSHIP in case.families:
        changes = sum(event.fault is Fault.CHANGE_SETTINGS for event in scheduled)
        counts[Suffered.SETTINGS_CHANGES] = changes // 2  # a consumer that starts or rebalances may skip some
        counts[Suffered.ADDED_PARTITIONS] = 1
        counts[Suffered.REBALANCES] = 2
    if Family.HANDLER in case.families:
        counts[Suffered.DEAD_LETTERS_REFUSED] = 1
    return counts


def missing(expected_counts: Counts, found: Counts) -> list[str]:
    """Return in words what did not happen, or not often enough."""
    return [
        f"{what} is {found.get(what, 0)}, must be at least {least}"
        for what, least in expected_counts.items()
        if found.get(what, 0) < least
    ]


def scheduled(caused: Mapping[Fault, int]) -> Counts:
    """Return the counts of what the schedule did, `caused` by fault; joins are counted by `in_history`."""
    counts: Counter[Suffered] = Counter()
    for fault, times in caused.items():
        if fault in _BY_FAULT and fault is not Fault.JOIN:
            counts[_BY_FAULT[fault]] += times
    return counts


def by_marks(marks: Iterable[Mark]) -> Counts:
    """Return the counts of what the handler did at marked messages."""
    return Counter(_BY_MARK[mark] for mark in marks)


def in_history(history: History, *, first_members: int) -> Counts:
    """Return the counts of rebalances and joins; members beyond `first_members` joined later."""
    held = history.assignments
    return {
        Suffered.REBALANCES: sum(each.ending in {Ending.REVOKED, Ending.LOST} for each in held),
        Suffered.JOINS: len({each.member for each in held if each.member > first_members}),
    }


def in_messages(truth: Mapping[int, Iterable[Content]]) -> Counts:
    """Return the counts of what was sent."""
    counts: Counter[Suffered] = Counter()
    for content in (each for contents in truth.values() for each in contents):
        counts[Suffered.POISON] += content.poison
        counts[Suffered.NULL_KEYS] += content.key == 0
        counts[Suffered.NULL_VALUES] += content.value_bytes is None
        counts[Suffered.LARGE_VALUES] += (content.value_bytes or 0) > LARGE_BYTES
    return counts


def in_attempts(attempts: Iterable[Attempt], *, first_partitions: int) -> Counts:
    """Return the counts of what the handler went through; partitions from `first_partitions` on were added."""
    failed, added = 0, set()
    for each in attempts:
        failed += each.outcome is Outcome.FAILED
        if each.partition >= first_partitions:
            added.add(each.partition)
    return {Suffered.EXCEPTIONS: failed, Suffered.ADDED_PARTITIONS: len(added)}
