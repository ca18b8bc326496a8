"""What an import pulls in, seen in a fresh interpreter: each image holds only what its own half needs."""

import subprocess
import sys

import pytest


def loaded_by(module: str) -> set[str]:
    """The top-level modules that importing one module loads."""
    script = f"import {module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    ["consumer_runtime.contract.settings", "parallel_consumer_operator.__main__", "parallel_consumer_operator.service"],
)
def test_the_operator_needs_no_kafka_client(module: str) -> None:
    """The operator's image has no Kafka client."""
    assert loaded_by(module).isdisjoint({"confluent_kafka"})


def test_the_runtime_needs_nothing_of_the_operator() -> None:
    """The runtime's image has neither kopf nor a Kubernetes client."""
    assert loaded_by("consumer_runtime.__main__").isdisjoint({"kopf", "kubernetes", "parallel_consumer_operator"})
