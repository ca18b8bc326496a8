import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer_runtime import exposition
from consumer_runtime.contract.metrics import CATALOGUE, CLIENT_CATALOGUE, Kind, RetryReason, Status
from consumer_runtime.statistics import PartitionStatistics, Statistics
from consumer_runtime.user_metrics import UserMetrics

REPORT = {
    "brokers": {
        "127.0.0.1:9092/bootstrap": {"nodeid": -1, "state": "UP"},
        "127.0.0.1:9092/1": {
            "nodeid": 1, "state": "UP", "rtt": {"p99": 2_500}, "throttle": {"avg": 40}, "txerrs": 1, "rxerrs": 2,
            "req_timeouts": 3, "rxbytes": 1_000,
        },
    },
    "topics": {"orders": {"partitions": {"0": {"fetchq_cnt": 5, "fetchq_size": 500}, "1": {"fetchq_cnt": 2}}}},
}  # fmt: skip
"""The parts of librdkafka's report that are exported, in its own shape and units."""


def _filled() -> Statistics:
    statistics = Statistics(partitions={("orders", 0): PartitionStatistics(backlog=12)}, knobs={"max_in_flight": 64})
    statistics.count_processed(topic="orders", partition=0, status=Status.SUCCESS, messages=40)
    statistics.retries[RetryReason.ERROR] = 3
    statistics.handler_seconds.observe(0.02, 40)
    statistics.librdkafka = REPORT
    return statistics


def _scraped(statistics: Statistics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    families = text_string_to_metric_families(exposition.page(statistics.snapshot).decode())
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


@pytest.mark.parametrize("metric", [*CATALOGUE, *CLIENT_CATALOGUE], ids=lambda metric: metric.name)
def test_every_metric_of_the_catalogue_is_on_the_page(metric):
    """Under its name, with its labels and no others."""
    name = metric.name + ("_count" if metric.kind is Kind.HISTOGRAM else "")
    series = _scraped(_filled()).get(name)
    assert series, f"{name} is in the catalogue and not on the page"
    assert {tuple(key for key, _ in labels) for labels in series} == {tuple(sorted(metric.labels))}


def test_the_page_says_what_the_statistics_say():
    """Values arrive unchanged, and a histogram's buckets are cumulative."""
    page = _scraped(_filled())
    assert page["consumer_processed_total"][("partition", "0"), ("status", "success"), ("topic", "orders")] == 40
    assert page["consumer_backlog_messages"][("partition", "0"), ("topic", "orders")] == 12
    assert page["consumer_retries_total"][(("reason", "error"),)] == 3
    buckets = page["consumer_handler_seconds_bucket"]
    assert [buckets[(("le", bound),)] for bound in ("0.01", "0.025", "+Inf")] == [0, 40, 40]
    assert page["consumer_handler_seconds_sum"][()] == pytest.approx(0.8)


def test_the_client_speaks_in_its_own_units_and_the_page_in_seconds():
    """The client counts round trips in microseconds and throttling in milliseconds; only real brokers are shown."""
    page = _scraped(_filled())
    broker = (("broker", "127.0.0.1:9092/1"),)
    assert list(page["consumer_client_broker_up"]) == [broker]
    assert page["consumer_client_round_trip_seconds_p99"][broker] == pytest.approx(0.0025)
    assert page["consumer_client_throttle_seconds"][broker] == pytest.approx(0.04)
    assert page["consumer_client_request_errors_total"][broker] == 6
    assert page["consumer_client_fetch_queue_messages"][()] == 7


def test_what_is_not_known_is_absent_and_not_zero():
    """A tuner must see that there is no figure yet."""
    page = _scraped(Statistics(partitions={("orders", 0): PartitionStatistics()}))
    assert "consumer_backlog_messages" not in page
    assert "consumer_client_broker_up" not in page


def test_the_users_counts_and_prometheus_clients_own_are_on_the_page():
    """A handler counts and measures with `user_metrics`, or with prometheus_client; both are scraped."""
    statistics = Statistics(user=UserMetrics())
    statistics.user.count("orders paid", 3, country="pt")
    for items in (1, 4, 9):
        statistics.user.observe("items", items, buckets=(1, 5))
    page = _scraped(statistics)
    assert page["consumer_user_orders_paid_total"][(("country", "pt"),)] == 3
    buckets = page["consumer_user_items_bucket"]
    assert [buckets[(("le", bound),)] for bound in ("1.0", "5.0", "+Inf")] == [1, 2, 3]
    assert page["consumer_user_items_sum"][()] == 14
    assert "python_info" in page


def test_a_scrape_is_cheap():
    """A pod with 200 partitions answers within a few milliseconds: it shares the interpreter with the consumer."""
    statistics = Statistics(partitions={("t", number): PartitionStatistics(backlog=1) for number in range(200)})
    for number in range(200):
        statistics.count_processed(topic="t", partition=number, status=Status.SUCCESS)
    exposition.page(statistics.snapshot)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        exposition.page(statistics.snapshot)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1
