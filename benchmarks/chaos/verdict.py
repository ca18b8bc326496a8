"""Whether the runtime kept its promises in one case: pure, from what the topic holds and what was logged.

Each count is a function of its own, and zero (or its bound) by the promise in docs/reliability.md. Made logs that must
fail each of them are in the tests.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.chaos.faults import Counts, missing
from benchmarks.chaos.history import Assignment, Commit, Ending, History, by_place
from benchmarks.chaos.payload import Content
from benchmarks.chaos.records import Attempt, Outcome
from consumer_runtime.contract.settings import Ordering

Place = tuple[int, int]
"""(partition, offset)."""
Truth = Mapping[int, Sequence[Content]]
"""What the topic holds, by partition; the index is the offset, `poison` is whether every attempt raises."""
LATE_NANOSECONDS = 500_000_000
"""A completion is on its way from the handler to the ledger for less than this, also on a busy machine."""
_NAMED_AT_MOST = 20
_UNCLEAN = {Ending.KILLED, Ending.CRASHED, Ending.LOST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that is judged."""

    truth: Truth
    attempts: Sequence[Attempt]
    history: History
    dead_letters: frozenset[Place]
    """Distinct origins."""
    ordering: Ordering
    committed: Mapping[int, int]
    """The group's last committed offset by partition; none where nothing was committed."""
    unexpected_exits: int = 0
    """Processes that ended by themselves although nothing was planned that must end them."""
    orphans: int = 0
    """Processes of the case that outlived their consumer."""
    faults_expected: Counts = field(default_factory=dict)
    """What must have happened at least, so that this case proves something."""
    faults_found: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The counts of one case; the first ten by the names of the published table."""

    messages: int
    lost: int
    order_violations: int
    duplicates: int
    duplicates_bound: int
    poisoned: int
    dead_lettered: int
    commits_for_unowned: int
    max_poll_exceeded: int
    unfinished: int
    """Neither finished nor passed by a commit when the case's time was up: the group stood still."""
    overlaps: int
    """Attempts of one key (or partition) that ran at the same time within one assignment."""
    duplicates_unexplained: int
    """Ran again although no event logged could have made them."""
    dead_letters_wrong: int
    """Poison without a dead letter, and dead letters that are not poison."""
    commits_ahead: int
    """Offsets that a commit passed before their message was finished: a kill right then loses them."""
    mismatched: int
    """Attempts whose key or sequence is not what the topic holds at that offset."""
    unexpected_exits: int
    orphans: int
    last_commits_refused: int
    """For information: orderly ends of an assignment whose last commit the broker refused."""
    uncommitted_ms_max: int
    """For information: how long before a kill the oldest message had finished that its last commit did not cover."""
    lost_places: tuple[Place, ...] = ()
    """The first of what was lost."""
    faults: Counts = field(default_factory=dict)
    """What the case suffered."""
    faults_missing: tuple[str, ...] = ()
    """What it should have suffered and did not, in words: then it proves less than its name says."""

    @property
    def failures(self) -> list[str]:
        """Return every broken promise in words; empty when all were kept."""
        zeros = {name: getattr(self, name) for name in _MUST_BE_ZERO}
        broken = [f"{name} is {count}, must be 0" for name, count in zeros.items() if count]
        if self.duplicates > self.duplicates_bound:
            broken.append(f"duplicates is {self.duplicates}, must be at most {self.duplicates_bound}")
        broken += [f"lost is partition {partition}, offset {offset}" for partition, offset in self.lost_places]
        if self.dead_lettered != self.poisoned:
            broken.append(f"dead_lettered is {self.dead_lettered}, must be {self.poisoned}")
        return broken

    @property
    def unproved(self) -> list[str]:
        """Return in words why this case proves less than its name says; empty when every fault was caused."""
        return [f"fault not caused: {each}" for each in self.faults_missing]


_MUST_BE_ZERO = (
    "lost",
    "unfinished",
    "order_violations",
    "overlaps",
    "duplicates_unexplained",
    "dead_letters_wrong",
    "commits_for_unowned",
    "commits_ahead",
    "max_poll_exceeded",
    "mismatched",
    "unexpected_exits",
    "orphans",
)


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict on one case."""
    truth, history = evidence.truth, evidence.history
    completions = [attempt for attempt in evidence.attempts if attempt.outcome is Outcome.COMPLETED]
    first = first_completions(completions)
    runs = runs_by_assignment(evidence.attempts, history.assignments)
    poison = poisoned(truth)
    open_places = [place for place in places(truth) if place not in first and place not in evidence.dead_letters]
    passed = [(partition, offset) for partition, offset in open_places if offset < evidence.committed.get(partition, 0)]
    rerun_allowed = [may_run_again(assignment, attempts) for assignment, attempts in runs]
    return Verdict(
        messages=sum(map(len, truth.values())),
        lost=len(passed),
        unfinished=len(open_places) - len(passed),
        lost_places=tuple(sorted(passed)[:_NAMED_AT_MOST]),
        order_violations=sum(_order_violations(attempts, first, evidence.ordering) for _, attempts in runs),
        overlaps=sum(_overlaps(attempts, evidence.ordering) for _, attempts in runs),
        duplicates=len(completions) - len(first),
        duplicates_bound=sum(duplicates_bound(assignment, attempts) for assignment, attempts in runs),
        duplicates_unexplained=_unexplained(completions, frozenset().union(*rerun_allowed)),
        poisoned=len(poison),
        dead_lettered=len(evidence.dead_letters),
        dead_letters_wrong=len(poison ^ evidence.dead_letters),
        commits_for_unowned=commits_for_unowned(history),
        commits_ahead=commits_ahead(history.assignments, first, evidence.dead_letters),
        max_poll_exceeded=history.max_poll_exceeded,
        mismatched=sum(not _matches(attempt, truth) for attempt in evidence.attempts),
        unexpected_exits=evidence.unexpected_exits,
        orphans=evidence.orphans,
        last_commits_refused=sum(each.commit_failed_last for each in history.assignments if _is_orderly(each)),
        uncommitted_ms_max=max((_uncommitted_ms(assignment, attempts) for assignment, attempts in runs), default=0),
        faults=evidence.faults_found,
        faults_missing=tuple(missing(evidence.faults_expected, evidence.faults_found)),
    )


def places(truth: Truth) -> Iterable[Place]:
    """Yield the place of every message."""
    return ((partition, offset) for partition, contents in truth.items() for offset in range(len(contents)))


def poisoned(truth: Truth) -> frozenset[Place]:
    """Return the places of all messages whose every attempt raises."""
    return frozenset(
        (p, offset) for p, contents in truth.items() for offset, each in enumerate(contents) if each.poison
    )


def first_completions(completions: Iterable[Attempt]) -> dict[Place, Attempt]:
    """Return the earliest completion of each message."""
    first: dict[Place, Attempt] = {}
    for attempt in completions:
        place = (attempt.partition, attempt.offset)
        known = first.get(place)
        if known is None or attempt.ended < known.ended:
            first[place] = attempt
    return first


def runs_by_assignment(
    attempts: Iterable[Attempt], assignments: Sequence[Assignment]
) -> list[tuple[Assignment, list[Attempt]]]:
    """Return each assignment with the attempts that belong to it: those started since it began, before the next one.

    An attempt started after its assignment's end still belongs there; one without any assignment is in none.
    """
    placed = by_place(assignments)
    began = {place: [each.began for each in group] for place, group in placed.items()}
    runs: dict[tuple[int, int, int, int], list[Attempt]] = {}
    for attempt in attempts:
        place = (attempt.member, attempt.incarnation, attempt.partition)
        index = bisect_right(began.get(place, []), attempt.started) - 1
        runs.setdefault((*place, index), []).append(attempt)
    return [
        (assignment, runs.get((*place, index), []))
        for place, group in placed.items()
        for index, assignment in enumerate(group)
    ]


def uncovered(assignment: Assignment, attempts: Iterable[Attempt]) -> frozenset[Place]:
    """Return what finished in an assignment and is not covered by its last acknowledged commit."""
    commit = assignment.acknowledged
    return frozenset(
        (attempt.partition, attempt.offset)
        for attempt in attempts
        if attempt.outcome is Outcome.COMPLETED and not (commit and commit.covers(attempt.offset))
    )


def may_run_again(assignment: Assignment, attempts: Iterable[Attempt]) -> frozenset[Place]:
    """Return what finished in an assignment and may, by the way in which it ended, run again.

    After an orderly revoke that dropped something that is only what finished about when the last commit was sent, or
    after it: anything earlier should have been in that commit.
    """
    if _is_unclean(assignment):
        return uncovered(assignment, attempts)
    if assignment.dropped == 0:
        return frozenset()
    last_sent = assignment.commits[-1].sent if assignment.commits else assignment.ended
    return uncovered(assignment, [each for each in attempts if each.ended > last_sent - LATE_NANOSECONDS])


def duplicates_bound(assignment: Assignment, attempts: Iterable[Attempt]) -> int:
    """Return how many completions the end of one assignment may cause to happen twice.

    After a kill, a crash, a loss or a failed last commit: what finished (or was just running, and finished in an
    orphaned worker) since the last acknowledged commit. After a revoke: what was dropped when its grace was over.
    """
    if _is_unclean(assignment):
        return len(uncovered(assignment, attempts))
    return assignment.dropped


def _uncommitted_ms(assignment: Assignment, attempts: Iterable[Attempt]) -> int:
    if assignment.ending is not Ending.KILLED:
        return 0
    places = uncovered(assignment, attempts)
    ended = (each.ended for each in attempts if (each.partition, each.offset) in places)
    return (assignment.ended - min(ended, default=assignment.ended)) // 1_000_000


def _is_orderly(assignment: Assignment) -> bool:
    return assignment.ending in {Ending.REVOKED, Ending.EXITED}


def _is_unclean(assignment: Assignment) -> bool:
    return assignment.ending in _UNCLEAN or assignment.commit_failed_last


def commits_for_unowned(history: History) -> int:
    """Return how many commits were sent outside their sender's assignment, or taken while another one owned it."""
    owners: dict[int, list[Assignment]] = {}
    for assignment in history.assignments:
        owners.setdefault(assignment.partition, []).append(assignment)
    foreign = sum(
        _is_foreign(commit, assignment, owners[assignment.partition])
        for assignment in history.assignments
        for commit in assignment.commits
        if commit.acknowledged is not None
    )
    return foreign + len(history.stray_commits)


def commits_ahead(
    assignments: Sequence[Assignment], first: Mapping[Place, Attempt], dead_letters: frozenset[Place]
) -> int:
    """Return how many offsets some commit passed, or listed as finished, before their message was finished."""
    ahead: set[Place] = set()
    verified: dict[int, int] = {}
    sent = sorted(
        ((commit.sent, each.partition, commit) for each in assignments for commit in each.commits), key=_first
    )
    for at, partition, commit in sent:
        below = range(verified.get(partition, 0), commit.offset)
        beyond = (offset for start, end in commit.beyond for offset in range(start, end))
        for offset in (*below, *beyond):
            place = (partition, offset)
            if place not in dead_letters and not _finished_by(first.get(place), at):
                ahead.add(place)
        verified[partition] = max(verified.get(partition, 0), commit.offset)
    return len(ahead)


def _first(entry: tuple[int, int, Commit]) -> int:
    return entry[0]


def _finished_by(completion: Attempt | None, at: int) -> bool:
    return completion is not None and completion.ended <= at


def _is_foreign(commit: Commit, sender: Assignment, assignments: Sequence[Assignment]) -> bool:
    return any(
        other is not sender and other.began <= commit.sent <= other.ended and _differ(other, sender)
        for other in assignments
    )


def _differ(one: Assignment, other: Assignment) -> bool:
    return (one.member, one.incarnation) != (other.member, other.incarnation)


def _order_violations(attempts: Iterable[Attempt], first: Mapping[Place, Attempt], ordering: Ordering) -> int:
    """Count first completions of a key (or partition) that finished after a later message of it."""
    violations = 0
    highest: dict[int, int] = {}
    ours = [each for each in attempts if first.get((each.partition, each.offset)) is each]
    for attempt in sorted(ours, key=lambda each: each.ended):
        lane = _lane(attempt, ordering)
        if lane is None:
            continue
        violations += attempt.offset < highest.get(lane, -1)
        highest[lane] = max(attempt.offset, highest.get(lane, -1))
    return violations


def _overlaps(attempts: Iterable[Attempt], ordering: Ordering) -> int:
    overlaps = 0
    busy_until: dict[int, int] = {}
    for attempt in sorted(attempts, key=lambda each: each.started):
        lane = _lane(attempt, ordering)
        if lane is None:
            continue
        overlaps += attempt.started < busy_until.get(lane, 0)
        busy_until[lane] = max(attempt.ended, busy_until.get(lane, 0))
    return overlaps


def _lane(attempt: Attempt, ordering: Ordering) -> int | None:
    """Return what must be in order with what, within one partition; None for messages without any order."""
    if ordering is Ordering.PARTITION:
        return 0
    if ordering is Ordering.UNORDERED or attempt.key == 0:
        return None
    return attempt.key


def _unexplained(completions: Iterable[Attempt], allowed: frozenset[Place]) -> int:
    counts = Counter((attempt.partition, attempt.offset) for attempt in completions)
    return sum(count - 1 for place, count in counts.items() if count > 1 and place not in allowed)


def _matches(attempt: Attempt, truth: Truth) -> bool:
    contents = truth.get(attempt.partition, ())
    if attempt.offset >= len(contents):
        return False
    known = contents[attempt.offset]
    return known.key == attempt.key and known.sequence == attempt.sequence
