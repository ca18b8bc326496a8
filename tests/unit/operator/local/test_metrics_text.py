"""Figures of a look, from metrics pages."""

from parallel_consumer_operator.local import metrics_text

PAGE = """
# HELP consumer_processed_total Messages finished.
# TYPE consumer_processed_total counter
consumer_processed_total{topic="t",partition="0",status="success"} 5
consumer_processed_total{topic="t",partition="1",status="dead_lettered"} 2
# TYPE consumer_backlog_messages gauge
consumer_backlog_messages{topic="t",partition="0"} 7
consumer_backlog_messages{topic="t",partition="1"} 1
# TYPE consumer_knob gauge
consumer_knob{knob="max_in_flight"} 64
"""
LATER = PAGE.replace('"0"} 7', '"0"} 9')


def test_every_outcome_counts_as_processed():
    """Succeeded and dead-lettered messages are both finished."""
    assert metrics_text.processed(metrics_text.parse(PAGE)) == 7


def test_a_partition_reported_twice_counts_once_with_the_higher_figure():
    """Two pods that both report a partition do not double the backlog."""
    assert metrics_text.backlog([metrics_text.parse(PAGE), metrics_text.parse(LATER)]) == 10


def test_no_report_is_unknown_and_not_zero():
    """Absent is not 0."""
    assert metrics_text.backlog([]) is None
    assert metrics_text.backlog([metrics_text.parse("")]) is None


def test_knobs_are_read_by_name():
    """The gauge's label is the runtime's name of the knob."""
    assert metrics_text.knobs(metrics_text.parse(PAGE)) == {"max_in_flight": 64}
