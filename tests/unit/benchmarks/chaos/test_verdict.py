"""Made logs that must fail the verdict, each for its own reason, beside one that must pass."""

from collections.abc import Iterable

import pytest

from benchmarks.chaos.faults import Counts, Suffered
from benchmarks.chaos.history import Assignment, Commit, Ending, History
from benchmarks.chaos.payload import Content
from benchmarks.chaos.records import Attempt, Outcome
from benchmarks.chaos.verdict import Evidence, Verdict, judge
from consumer_runtime.contract.settings import Ordering

KEY, OTHER_KEY = 11, 22
SECOND = 1_000_000_000


def ran(
    offset: int,
    *,
    at: float,
    took: float = 0.5,
    key: int = KEY,
    incarnation: int = 1,
    outcome: Outcome = Outcome.COMPLETED,
    attempt: int = 1,
    sequence: int | None = None,
) -> Attempt:
    """One attempt of partition 0, by member 1, at a time in seconds."""
    started = int(at * SECOND)
    number = offset if sequence is None else sequence
    ended = started + int(took * SECOND)
    return Attempt(1, incarnation, 100, 0, offset, key, number, attempt, outcome, started, ended)


def commit(offset: int, *, at: float, beyond: tuple[tuple[int, int], ...] = (), acknowledged: bool = True) -> Commit:
    """A commit, answered a tenth of a second later."""
    sent = int(at * SECOND)
    return Commit(offset=offset, beyond=beyond, sent=sent, acknowledged=sent + SECOND // 10 if acknowledged else None)


def held(
    *commits: Commit,
    began: float = 0,
    ended: float = 100,
    ending: Ending = Ending.EXITED,
    incarnation: int = 1,
    dropped: int = 0,
    commit_failed_last: bool = False,
) -> Assignment:
    """A time of member 1 with partition 0."""
    return Assignment(
        member=1,
        incarnation=incarnation,
        partition=0,
        began=int(began * SECOND),
        ended=int(ended * SECOND),
        ending=ending,
        dropped=dropped,
        commits=commits,
        commit_failed_last=commit_failed_last,
    )


def contents(count: int, *, poison: Iterable[int] = (), key: int = KEY) -> dict[int, list[Content]]:
    """A topic of one partition with one key."""
    return {0: [Content(key=key, sequence=offset, poison=offset in set(poison)) for offset in range(count)]}


def verdict_on(
    attempts: Iterable[Attempt],
    *assignments: Assignment,
    truth: dict[int, list[Content]] | None = None,
    dead_letters: Iterable[int] = (),
    ordering: Ordering = Ordering.KEY,
    committed: int = 3,
    stray: Iterable[Commit] = (),
    faults_expected: Counts | None = None,
    faults_found: Counts | None = None,
) -> Verdict:
    """Judge partition 0."""
    history = History(
        assignments=assignments or (held(commit(committed, at=50)),),
        stray_commits=tuple((1, 0, each) for each in stray),
    )
    return judge(
        Evidence(
            truth=truth or contents(3),
            attempts=tuple(attempts),
            history=history,
            dead_letters=frozenset((0, offset) for offset in dead_letters),
            ordering=ordering,
            committed={0: committed},
            faults_expected=faults_expected or {},
            faults_found=faults_found or {},
        )
    )


IN_ORDER = (ran(0, at=1), ran(1, at=2), ran(2, at=3))


def test_a_clean_run_keeps_every_promise() -> None:
    """Three messages, once each and in order, all committed: nothing to complain of."""
    verdict = verdict_on(IN_ORDER)
    assert verdict.failures == []
    assert (verdict.messages, verdict.duplicates, verdict.duplicates_bound) == (3, 0, 0)


def test_a_committed_message_that_never_ran_is_lost() -> None:
    """The group passed offset 1, and nothing finished it."""
    verdict = verdict_on((IN_ORDER[0], IN_ORDER[2]))
    assert (verdict.lost, verdict.unfinished) == (1, 0)
    assert "lost is 1, must be 0" in verdict.failures
    assert "lost is partition 0, offset 1" in verdict.failures


def test_a_message_not_yet_passed_is_unfinished_and_not_lost() -> None:
    """A group that stood still has lost nothing, but it fails all the same."""
    verdict = verdict_on(IN_ORDER[:1], held(commit(1, at=50)), committed=1)
    assert (verdict.lost, verdict.unfinished) == (0, 2)
    assert "unfinished is 2, must be 0" in verdict.failures


def test_failed_and_cancelled_attempts_finish_nothing() -> None:
    """A message whose every attempt failed and that was committed without a dead letter is lost."""
    failing = [ran(1, at=2, outcome=Outcome.FAILED), ran(1, at=3, outcome=Outcome.CANCELLED, attempt=2)]
    assert verdict_on([IN_ORDER[0], *failing, ran(2, at=4)]).lost == 1


def test_a_later_message_of_the_key_that_finishes_first_breaks_the_order() -> None:
    """Offset 1 finished before offset 0, both of one key in one assignment."""
    verdict = verdict_on((ran(1, at=1), ran(0, at=2), ran(2, at=3)))
    assert verdict.order_violations == 1
    assert "order_violations is 1, must be 0" in verdict.failures


def test_other_keys_and_unordered_messages_may_overtake() -> None:
    """Order is promised within a key, not between keys, and not at all when unordered."""
    attempts = (ran(1, at=1, key=OTHER_KEY), ran(0, at=2), ran(2, at=3))
    truth = contents(3)
    truth[0][1] = Content(key=OTHER_KEY, sequence=1, poison=False)
    assert verdict_on(attempts, truth=truth).failures == []
    assert verdict_on((ran(1, at=1), ran(0, at=2), ran(2, at=3)), ordering=Ordering.UNORDERED).failures == []


def test_partition_order_counts_between_keys() -> None:
    """With ordering partition the same run is a violation."""
    attempts = (ran(1, at=1, key=OTHER_KEY), ran(0, at=2), ran(2, at=3))
    truth = contents(3)
    truth[0][1] = Content(key=OTHER_KEY, sequence=1, poison=False)
    assert verdict_on(attempts, truth=truth, ordering=Ordering.PARTITION).order_violations == 1


def test_null_keys_have_no_order() -> None:
    """Messages without a key are spread, so they may finish in any order."""
    attempts = (ran(1, at=1, key=0), ran(0, at=1.1, key=0), ran(2, at=1.2, key=0))
    assert verdict_on(attempts, truth=contents(3, key=0)).failures == []


def test_two_attempts_of_one_key_at_once_overlap() -> None:
    """They finish in order, but the second started while the first still ran: also a failed attempt may write."""
    verdict = verdict_on((ran(0, at=1, took=1.0), ran(1, at=1.5, took=1.0), ran(2, at=3)))
    assert (verdict.order_violations, verdict.overlaps) == (0, 1)
    hung = ran(0, at=1, took=9.0, outcome=Outcome.FAILED)
    verdict = verdict_on((hung, ran(0, at=5, attempt=2), ran(1, at=11), ran(2, at=12)))
    assert verdict.overlaps == 1


def test_a_rerun_without_cause_is_unexplained_and_over_the_bound() -> None:
    """Offset 1 finished twice, and nobody was killed."""
    verdict = verdict_on((*IN_ORDER, ran(1, at=5)))
    assert (verdict.duplicates, verdict.duplicates_bound, verdict.duplicates_unexplained) == (1, 0, 1)
    assert "duplicates is 1, must be at most 0" in verdict.failures


def test_a_kill_explains_what_finished_since_the_last_acknowledged_commit() -> None:
    """Killed with offsets 1 and 2 finished and not acknowledged: both may run again in the next incarnation."""
    killed = held(
        commit(1, at=2, acknowledged=True), commit(3, at=4, acknowledged=False), ended=5, ending=Ending.KILLED
    )
    after = held(commit(3, at=20), began=10, incarnation=2)
    again = (ran(1, at=11, incarnation=2), ran(2, at=12, incarnation=2))
    verdict = verdict_on((*IN_ORDER, *again), killed, after)
    assert verdict.failures == []
    assert (verdict.duplicates, verdict.duplicates_bound) == (2, 2)


def test_the_age_of_what_a_kill_repeats_is_told() -> None:
    """Offset 1 had finished 2.5 s before the kill, and only offset 0 was acknowledged."""
    killed = held(commit(1, at=2), ended=5, ending=Ending.KILLED)
    after = held(commit(3, at=20), began=10, incarnation=2)
    verdict = verdict_on((*IN_ORDER, ran(1, at=11, incarnation=2), ran(2, at=12, incarnation=2)), killed, after)
    assert verdict.uncommitted_ms_max == 2_500


def test_a_kill_does_not_explain_what_was_acknowledged() -> None:
    """Offset 0 was below the acknowledged commit, offset 2 in its map: running them again is a defect."""
    killed = held(commit(1, at=3.9, beyond=((2, 3),)), ended=5, ending=Ending.KILLED)
    after = held(commit(3, at=20), began=10, incarnation=2)
    for offset in (0, 2):
        verdict = verdict_on((*IN_ORDER, ran(offset, at=11, incarnation=2)), killed, after)
        assert verdict.duplicates_unexplained == 1
        assert verdict.duplicates_bound == 1


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.CRASHED])
def test_losing_a_partition_counts_like_a_kill(ending: Ending) -> None:
    """A partition that was lost, or whose consumer crashed, had no last commit either."""
    gone = held(ended=5, ending=ending)
    after = held(commit(3, at=20), began=10, incarnation=2)
    verdict = verdict_on((*IN_ORDER, ran(2, at=11, incarnation=2)), gone, after)
    assert verdict.failures == []
    assert verdict.duplicates_bound == 3


def test_an_orderly_revoke_explains_nothing() -> None:
    """With nothing dropped, what finished before the revoke must not run again."""
    revoked = held(commit(2, at=4), ended=5, ending=Ending.REVOKED)
    after = held(commit(3, at=20), began=10, incarnation=2)
    verdict = verdict_on((*IN_ORDER, ran(2, at=11, incarnation=2)), revoked, after)
    assert (verdict.duplicates_bound, verdict.duplicates_unexplained) == (0, 1)


def test_what_a_revoke_dropped_may_run_again_if_it_finished_too_late() -> None:
    """One message was dropped after the grace, and its handler finished all the same."""
    revoked = held(commit(2, at=4), ended=5, ending=Ending.REVOKED, dropped=1)
    after = held(commit(3, at=20), began=10, incarnation=2)
    late = ran(2, at=3, took=3.0)
    verdict = verdict_on((*IN_ORDER[:2], late, ran(2, at=11, incarnation=2)), revoked, after)
    assert verdict.failures == []
    assert (verdict.duplicates, verdict.duplicates_bound) == (1, 1)


def test_a_drop_does_not_explain_what_finished_long_before_the_revoke() -> None:
    """Offset 2 finished ten seconds before the revoke, and was not in its commit: a defect, whatever was dropped."""
    revoked = held(commit(2, at=14), ended=15, ending=Ending.REVOKED, dropped=1)
    after = held(commit(3, at=30), began=20, incarnation=2)
    verdict = verdict_on((*IN_ORDER, ran(2, at=21, incarnation=2)), revoked, after)
    assert verdict.duplicates_unexplained == 1


def test_a_refused_last_commit_counts_like_a_kill() -> None:
    """The commit at the revoke was answered with an error, so what it said is not known to anyone."""
    revoked = held(commit(3, at=4, acknowledged=False), ended=5, ending=Ending.REVOKED, commit_failed_last=True)
    after = held(commit(3, at=20), began=10, incarnation=2)
    again = tuple(ran(offset, at=11 + offset, incarnation=2) for offset in range(3))
    verdict = verdict_on((*IN_ORDER, *again), revoked, after)
    assert verdict.failures == []
    assert verdict.last_commits_refused == 1


def test_poison_must_be_dead_lettered_exactly() -> None:
    """A poison message counts as finished by its dead letter; missing ones and others are wrong."""
    failing = ran(1, at=2, outcome=Outcome.FAILED)
    attempts = (IN_ORDER[0], failing, IN_ORDER[2])
    truth = contents(3, poison=[1])
    assert verdict_on(attempts, truth=truth, dead_letters=[1]).failures == []
    missing = verdict_on(attempts, truth=truth)
    assert (missing.lost, missing.dead_letters_wrong) == (1, 1)
    assert verdict_on(attempts, truth=truth, dead_letters=[1, 2]).dead_letters_wrong == 1
    swapped = verdict_on(attempts, truth=truth, dead_letters=[2])
    assert (swapped.poisoned, swapped.dead_lettered, swapped.dead_letters_wrong) == (1, 1, 2)


def test_a_commit_outside_any_assignment_is_for_unowned() -> None:
    """It was sent while its sender held nothing."""
    verdict = verdict_on(IN_ORDER, stray=[commit(2, at=60)])
    assert verdict.commits_for_unowned == 1


def test_a_commit_taken_while_another_owns_the_partition_is_for_unowned() -> None:
    """The sender still thought that it held the partition, and the broker took the commit."""
    old = held(commit(1, at=20), began=0, ended=30, ending=Ending.LOST)
    new = held(commit(3, at=50), began=10, incarnation=2)
    assert verdict_on(IN_ORDER, old, new).commits_for_unowned == 1
    refused = held(commit(1, at=20, acknowledged=False), began=0, ended=30, ending=Ending.LOST)
    assert verdict_on(IN_ORDER, refused, new).commits_for_unowned == 0


def test_a_commit_that_passes_unfinished_work_is_ahead() -> None:
    """Offset 2 finished a second after the commit that passed it: a kill between them would have lost it."""
    assert verdict_on(IN_ORDER, held(commit(3, at=2.7), commit(3, at=9))).commits_ahead == 1
    assert verdict_on(IN_ORDER, held(commit(1, at=2.7, beyond=((2, 3),)), commit(3, at=9))).commits_ahead == 1


def test_an_attempt_that_saw_another_message_is_mismatched() -> None:
    """The handler was given a key or a sequence that the topic does not hold at that offset."""
    assert verdict_on((*IN_ORDER[:2], ran(2, at=3, sequence=7))).mismatched == 1
    assert verdict_on((*IN_ORDER[:2], ran(2, at=3, key=OTHER_KEY))).mismatched == 1
    assert verdict_on((*IN_ORDER, ran(9, at=4))).mismatched == 1


def test_a_case_without_its_faults_proves_nothing() -> None:
    """Nothing was lost, but one of two kills never happened: the case fails and says which."""
    verdict = verdict_on(IN_ORDER, faults_expected={Suffered.KILLS: 2}, faults_found={Suffered.KILLS: 1})
    assert verdict.unproved == ["fault not caused: kills is 1, must be at least 2"]
    assert verdict.failures == []
