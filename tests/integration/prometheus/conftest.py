"""A real Prometheus on a free port that scrapes made pods."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from made_pods import MadePod
from made_server import LONG_WINDOW, is_full, is_ready, start_prometheus, wait_for


@pytest.fixture(scope="session")
def made_pods() -> Iterator[dict[str, list[MadePod]]]:
    """Two pods of `orders`; one each of resources whose measurements will be spoilt."""
    pods = {
        "orders": [MadePod("orders-a", (0, 1)), MadePod("orders-b", (2, 3))],
        "vanishing": [MadePod("vanishing-a", (0, 1))],
        "not-a-number": [MadePod("nan-a", (0, 1))],
        "partial": [MadePod("partial-a", (0, 1))],
    }
    pods["not-a-number"][0].gauges["consumer_in_flight_count"] = float("nan")
    pods["partial"][0].without.add("consumer_backlog_messages")
    yield pods
    for members in pods.values():
        for pod in members:
            pod.stop()


@pytest.fixture(scope="session")
def server(made_pods: dict[str, list[MadePod]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's address, after a long window of scrapes."""
    process, address = start_prometheus(tmp_path_factory.mktemp("prometheus"), made_pods)
    try:
        wait_for(lambda: is_ready(address), 30, "prometheus was ready")
        wait_for(lambda: is_full(address), 4 * LONG_WINDOW, "the long window was full")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)
