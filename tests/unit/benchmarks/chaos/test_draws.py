"""Draws that must be the same everywhere, and never let anything but poison exceed its retries."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.chaos import draws, evidence, plan, settings
from benchmarks.chaos.draws import Salt
from benchmarks.chaos.plan import Case, Family, Mark, Protocol
from consumer_runtime.contract.settings import Mode, Ordering

CASE = Case(mode=Mode.PROCESS, ordering=Ordering.KEY, protocol=Protocol.EAGER, families=(Family.HANDLER,), seed=3)
PLACES = [(partition, offset) for partition in range(8) for offset in range(5_000)]


def test_a_draw_is_the_same_in_every_process_and_version() -> None:
    """Figures written down once: a changed formula would make old seeds mean something else."""
    assert draws.share(1, partition=0, offset=0, salt=Salt.POISON) == pytest.approx(0.3227472, abs=1e-7)
    assert draws.share(1, partition=2, offset=3, salt=Salt.WORK) == pytest.approx(0.6428769, abs=1e-7)


@given(st.integers(0, 2**32), st.integers(0, 1_000), st.integers(0, 2**40), st.sampled_from(Salt))
def test_a_share_lies_between_nothing_and_everything(seed: int, partition: int, offset: int, salt: Salt) -> None:
    """Also for large offsets and seeds."""
    assert 0 <= draws.share(seed, partition=partition, offset=offset, salt=salt) < 1


def test_shares_are_spread_evenly() -> None:
    """Each tenth of the range gets about a tenth of the messages, within five standard deviations."""
    shares = [draws.share(5, partition=p, offset=o, salt=Salt.FAILURE) for p, o in PLACES]
    expected = len(PLACES) / 10
    for tenth in range(10):
        count = sum(tenth / 10 <= share < (tenth + 1) / 10 for share in shares)
        assert abs(count - expected) < 5 * expected**0.5


def test_poison_and_failures_come_as_often_as_the_odds_say() -> None:
    """Within five standard deviations, for the odds of a case."""
    odds = draws.odds_of(CASE)
    failing = sum(draws.fails(9, odds, partition=p, offset=o, attempt=1) for p, o in PLACES)
    assert abs(failing - len(PLACES) * odds.failure) < 5 * (len(PLACES) * odds.failure) ** 0.5
    poison = sum(draws.is_poison(9, odds, partition=p, offset=o) for p, o in PLACES)
    assert abs(poison - len(PLACES) * odds.poison) < 5 * (len(PLACES) * odds.poison) ** 0.5


@pytest.mark.parametrize("case", plan.every_case()[::7], ids=lambda case: case.name)
def test_only_poison_exceeds_its_retries(case: Case) -> None:
    """Drawn failures and one mark together leave every message an attempt that succeeds."""
    odds = replace(draws.odds_of(case), failure=1.0)
    failing = [a for a in range(1, 10) if draws.fails(case.seed, odds, partition=0, offset=0, attempt=a)]
    marks_per_message = 1
    assert len(failing) + marks_per_message <= settings.MAX_RETRIES


def test_marked_messages_lie_within_what_is_sent() -> None:
    """Each mark has its message, in a partition that exists, well before the last one."""
    for mode in plan.MODES:
        case = replace(CASE, mode=mode)
        marked = draws.marked(case)
        assert len(marked) == sum(case.marks.values())
        assert all(p < case.partitions and o < case.messages / case.partitions * 0.5 for p, o in marked)


def test_only_family_handler_has_marks() -> None:
    """Other families' bounds on duplicates must not be widened by processes that end themselves."""
    assert draws.marked(replace(CASE, families=(Family.CRASH,))) == {}
    assert Mark.EXIT in draws.marked(CASE).values()
    assert not replace(CASE, families=(Family.CRASH,)).may_give_up


def test_only_planned_exits_are_excused() -> None:
    """By their status: nothing else that ends a consumer hides behind a planned hang."""
    away, stuck, watchdog = 15, 19, 70
    assert evidence.planned_statuses(replace(CASE, families=(Family.CRASH, Family.BROKER))) == frozenset()
    assert evidence.planned_statuses(CASE) == {away}
    assert evidence.planned_statuses(replace(CASE, mode=Mode.THREAD)) == {away, stuck, watchdog}
