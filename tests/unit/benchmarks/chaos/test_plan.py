"""Cases, their schedules, and the pairwise subset."""

import pytest

from benchmarks.chaos import pairwise, plan
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.plan import Case, Family, Fault, Protocol
from benchmarks.chaos.soak import soak_case
from consumer_runtime.contract.settings import Mode, Ordering

WHOLE = plan.every_case()
MIXED = plan.mixed_cases()


def of_family(*families: Family, seed: int = 7) -> Case:
    """A case of one family or more."""
    return Case(mode=Mode.ASYNC, ordering=Ordering.KEY, protocol=Protocol.EAGER, families=families, seed=seed)


def test_the_matrix_is_every_mode_ordering_and_family_once() -> None:
    """4 x 3 x 4 cases, with different names and seeds."""
    assert len(WHOLE) == len({case.name for case in WHOLE}) == len({case.seed for case in WHOLE}) == 48
    assert len({(case.mode, case.ordering, case.families) for case in WHOLE}) == 48


def test_the_protocol_goes_round() -> None:
    """Each mode with each ordering, each mode with each family, each ordering with each family meets all protocols."""
    for one in ("mode", "ordering"):
        for other in ("ordering", "families"):
            if one != other:
                triples = {(getattr(case, one), getattr(case, other), case.protocol) for case in WHOLE}
                couples = {triple[:2] for triple in triples}
                assert len(triples) == 3 * len(couples)


def test_every_case_of_the_matrix_and_the_subset_has_200_000_messages() -> None:
    """Fewer would prove less than is said."""
    assert {case.messages for case in (*WHOLE, *MIXED)} == {200_000}


def test_a_name_and_a_seed_give_the_same_case() -> None:
    """What a report prints is enough to run a case again."""
    for case in (*WHOLE, *MIXED):
        assert plan.case_named(case.name, seed=case.seed) == case


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("async-key", "must be mode-ordering-protocol-family"),
        ("fibre-key-eager-crash", "mode 'fibre' must be one of single, async"),
        ("async-random-eager-crash", "ordering 'random' must be one of key, partition, unordered"),
        ("async-key-lazy-crash", "protocol 'lazy' must be one of eager, cooperative, consumer"),
        ("async-key-eager-flood", "family 'flood' must be one of crash"),
        ("auto-key-eager-crash", "name that one"),
    ],
)
def test_a_wrong_name_says_which_part_and_what_is_allowed(name: str, said: str) -> None:
    """A person who mistypes a case learns what to type."""
    with pytest.raises(ChaosError, match=said):
        plan.case_named(name, seed=1)


@pytest.mark.parametrize("family", list(Family))
def test_a_schedule_is_a_function_of_the_seed(family: Family) -> None:
    """The same case gives the same events, in order of time and within reach of the load."""
    events = plan.schedule(of_family(family))
    assert events == plan.schedule(of_family(family)) == sorted(events)
    assert all(0 < event.at_seconds < 60 for event in events)
    if family is not Family.CALM:
        assert events != plan.schedule(of_family(family, seed=8))


@pytest.mark.parametrize(
    ("family", "faults"),
    [
        (Family.CRASH, {Fault.KILL, Fault.TERMINATE}),
        (Family.BROKER, {Fault.RESTART_BROKER, Fault.PAUSE_BROKER, Fault.RESUME_BROKER}),
        (Family.MEMBERSHIP, {Fault.JOIN, Fault.LEAVE, Fault.ADD_PARTITIONS, Fault.CHANGE_SETTINGS}),
        (Family.HANDLER, {Fault.REMOVE_DEAD_LETTER_TOPIC, Fault.RESTORE_DEAD_LETTER_TOPIC}),
        (Family.CALM, set()),
    ],
)
def test_each_family_has_its_faults(family: Family, faults: set[Fault]) -> None:
    """No fault of a family is left out by some seed."""
    for seed in range(20):
        assert {event.fault for event in plan.schedule(of_family(family, seed=seed))} == faults


def test_what_lasts_ends_after_its_time() -> None:
    """A pause lasts 10 s, and the dead letter topic is away for 20 s."""
    times = {event.fault: event.at_seconds for event in plan.schedule(of_family(Family.BROKER))}
    assert times[Fault.RESUME_BROKER] - times[Fault.PAUSE_BROKER] == pytest.approx(10)
    times = {event.fault: event.at_seconds for event in plan.schedule(of_family(Family.HANDLER))}
    assert times[Fault.RESTORE_DEAD_LETTER_TOPIC] - times[Fault.REMOVE_DEAD_LETTER_TOPIC] == pytest.approx(20)


def test_settings_change_every_second() -> None:
    """In family membership the knobs are never left alone for longer."""
    changes = [e.at_seconds for e in plan.schedule(of_family(Family.MEMBERSHIP)) if e.fault is Fault.CHANGE_SETTINGS]
    assert changes == [float(second) for second in range(1, 28)]


def test_two_families_make_one_schedule() -> None:
    """A case of two families has the faults of both."""
    together = plan.schedule(of_family(Family.CRASH, Family.BROKER))
    apart = [*plan.schedule(of_family(Family.CRASH)), *plan.schedule(of_family(Family.BROKER))]
    assert sorted(event.fault for event in together) == sorted(event.fault for event in apart)


def test_the_subset_covers_every_pair_with_as_few_cases_as_can_be() -> None:
    """12 cases: no fewer can hold each of 4 modes with each of 3 orderings. Its pairs are those of the whole matrix."""
    subset = pairwise.subset(MIXED)
    assert len(subset) == 12
    assert pairwise.uncovered(subset, MIXED) == pairwise.uncovered(subset, WHOLE) == frozenset()
    assert subset == pairwise.subset(MIXED)


def test_a_subset_without_one_case_leaves_pairs_out() -> None:
    """The coverage check can fail."""
    assert pairwise.uncovered(pairwise.subset(MIXED)[1:], MIXED)


def test_large_values_are_sixteen_in_a_case_and_usual_in_a_soak() -> None:
    """In a soak all processes must have met one early, since each grows with the largest that it has seen."""
    case = of_family(Family.CRASH)
    assert case.messages // case.large_every == 16
    assert soak_case(Mode.ASYNC, seed=1).large_every == 2_000
