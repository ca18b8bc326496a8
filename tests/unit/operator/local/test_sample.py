"""The summary of a tuning run: figures from samples, and what counts as a promise not kept."""

import dataclasses

import pytest

from parallel_consumer_operator.local.sample import PodLook, Sample, Summary, shortfalls, summarize

GOOD = Summary(
    messages_offered=1_000,
    messages_processed=1_000,
    lost=0,
    steps_applied=2,
    apply_seconds_max=0.3,
    pod_restarts=0,
    pod_uids_changed=False,
    rate_before=100.0,
    rate_after=500.0,
    backlog_end=0,
)


def sample(second: float, processed: int, *, steps: int = 0, backlog: int = 10, uid: str = "a", restarts: int = 0):
    """Return a sample of one pod."""
    return Sample(second, (PodLook(uid, restarts, processed),), backlog, applied_steps=steps)


RUN = [
    sample(0, 0),
    sample(1, 100),
    sample(2, 200),
    sample(3, 300, steps=1),
    sample(4, 700, steps=2),
    sample(5, 1_200, steps=2),
    sample(6, 1_210, steps=2, backlog=0),
]


def test_rates_are_taken_where_messages_waited():
    """The rate before the first step and after the last, without the idle end of the run."""
    summary = summarize(RUN, offered=1_210, backlog_end=0, apply_seconds=[0.1, 0.25])
    assert (summary.rate_before, summary.rate_after) == (100.0, 500.0)
    assert summary.steps_applied == 2
    assert summary.apply_seconds_max == 0.25


def test_a_message_that_was_not_processed_is_lost():
    """What was offered and not processed counts as lost."""
    assert summarize(RUN, offered=1_300, backlog_end=0, apply_seconds=[]).lost == 90


def test_a_replaced_pod_is_seen_and_an_added_one_is_not_a_replacement():
    """A uid that disappears is a replacement; one that joins is not."""
    replaced = [sample(0, 0, uid="a"), sample(1, 5, uid="b")]
    assert summarize(replaced, offered=5, backlog_end=0, apply_seconds=[]).pod_uids_changed
    grown = [sample(0, 0), dataclasses.replace(sample(1, 5), pods=(PodLook("a", 0, 5), PodLook("b", 0, 0)))]
    assert not summarize(grown, offered=5, backlog_end=0, apply_seconds=[]).pod_uids_changed


def test_a_run_that_kept_every_promise_has_no_shortfall():
    """The good run is accepted."""
    assert shortfalls(GOOD) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lost": 1}, "lost"),
        ({"backlog_end": 3}, "left"),
        ({"steps_applied": 1}, "steps"),
        ({"apply_seconds_max": 2.5}, "2 allowed"),
        ({"pod_restarts": 1}, "restarted"),
        ({"pod_uids_changed": True}, "replaced"),
        ({"rate_after": 399.0}, "rate"),
    ],
)
def test_each_broken_promise_is_named(change, word):
    """Each figure on the wrong side of its bound gives one sentence about it, and only that one."""
    (sentence,) = shortfalls(dataclasses.replace(GOOD, **change))
    assert word in sentence
