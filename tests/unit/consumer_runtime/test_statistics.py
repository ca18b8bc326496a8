import threading

from hypothesis import given
from hypothesis import strategies as st

from consumer_runtime.contract.metrics import LATENCY_BUCKETS, Status
from consumer_runtime.statistics import Histogram, PartitionStatistics, Statistics


@given(st.lists(st.tuples(st.floats(0, 1_000), st.integers(1, 9))))
def test_a_histogram_counts_each_observation_below_the_right_bound(observations):
    """As the definition of a Prometheus bucket says: how many were at most the bound."""
    histogram = Histogram()
    for seconds, times in observations:
        histogram.observe(seconds, times)
    below = 0
    for bound, count in zip(LATENCY_BUCKETS, histogram.counts, strict=False):
        below += count
        assert below == sum(times for seconds, times in observations if seconds <= bound)
    assert histogram.count == sum(times for _, times in observations)


def test_a_snapshot_does_not_change_afterwards():
    """A reader keeps the numbers of its moment while the control thread goes on."""
    statistics = Statistics(partitions={("t", 0): PartitionStatistics(backlog=5)})
    statistics.count_processed(topic="t", partition=0, status=Status.SUCCESS, messages=2)
    before = statistics.snapshot()
    statistics.count_processed(topic="t", partition=0, status=Status.SUCCESS)
    statistics.partitions["t", 0].backlog = 9
    statistics.handler_seconds.observe(1.0)
    assert (before.finished(), before.partitions["t", 0].backlog, before.handler_seconds.count) == (2, 5, 0)
    assert statistics.snapshot().finished(Status.SUCCESS) == 3


def test_snapshots_are_taken_while_the_owner_writes():
    """No reader ever sees a dictionary change under it, however fast partitions come and go."""
    statistics, stop, failures = Statistics(), threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                statistics.snapshot()
            except RuntimeError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for offset in range(20_000):
        statistics.count_processed(topic="t", partition=offset, status=Status.SUCCESS)
        statistics.partitions[("t", offset)] = PartitionStatistics()
        statistics.partitions.pop(("t", offset - 50), None)
    stop.set()
    reader.join()
    assert failures == []


def test_the_poll_fill_ratio_follows_the_polls():
    """Full polls bring it towards 1, empty ones back towards 0."""
    statistics = Statistics()
    for _ in range(50):
        statistics.observe_poll(returned=500, asked=500)
    assert statistics.poll_fill_ratio > 0.99
    for _ in range(50):
        statistics.observe_poll(returned=0, asked=500)
    assert statistics.poll_fill_ratio < 0.01
