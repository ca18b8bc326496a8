"""The settings file of a case: what its consumers are told at first, and every second in family membership."""

import random
from pathlib import Path
from typing import Any

import yaml

from benchmarks import whole_file
from benchmarks.chaos.plan import Case, Protocol
from consumer_runtime.contract.settings import Mode, RuntimeSettings

TASK_TIMEOUT_MS = 4_000
REVOKE_GRACE_MS = 3_000
SHUTDOWN_GRACE_SECONDS = 10
MAX_POLL_INTERVAL_MS = 20_000
MAX_RETRIES = 3
_CLASSIC: dict[str, Any] = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 1_000}
_PROPERTIES: dict[Protocol, dict[str, Any]] = {
    Protocol.EAGER: {**_CLASSIC, "partition.assignment.strategy": "range"},
    Protocol.COOPERATIVE: {**_CLASSIC, "partition.assignment.strategy": "cooperative-sticky"},
    Protocol.CONSUMER: {"group.protocol": "consumer"},
}
_POOL = {Mode.THREAD: 8, Mode.PROCESS: 2}


def initial(case: Case, *, bootstrap_servers: str, topic: str, dead_letter_topic: str, group: str) -> dict[str, Any]:
    """Return the settings as the file states them; raises pydantic's ValidationError if they would be refused."""
    properties = {
        **_PROPERTIES[case.protocol],
        "max.poll.interval.ms": MAX_POLL_INTERVAL_MS,
        # added partitions are found within seconds instead of five minutes
        "topic.metadata.refresh.interval.ms": 5_000,
    }
    function = "handle_async" if case.mode is Mode.ASYNC else "handle"
    settings: dict[str, Any] = {
        "generation": 1,
        "source": {
            "kafka": {
                "bootstrap_servers": [bootstrap_servers],
                "topics": [topic],
                "consumer_group": group,
                "properties": properties,
            }
        },
        "handler": {"entrypoint": f"benchmarks.chaos.handler:{function}"},
        "execution": {
            "mode": str(case.mode),
            "ordering": str(case.ordering),
            "max_in_flight": 512,
            "poll_batch_size": 500,
            "worker_pool_size": _POOL.get(case.mode, 1),
            "task_timeout_ms": TASK_TIMEOUT_MS,
            "revoke_grace_ms": REVOKE_GRACE_MS,
            "shutdown_grace_seconds": SHUTDOWN_GRACE_SECONDS,
        },
        "retry": {"max_retries": MAX_RETRIES, "backoff_ms": 20, "max_backoff_ms": 200},
        "dead_letter": {"enabled": True, "topic": dead_letter_topic, "payload_mode": "full"},
        "http": {"host": "127.0.0.1", "port": 0},
    }
    RuntimeSettings.model_validate(settings)
    return settings


def changed(settings: dict[str, Any], mode: Mode, draw: random.Random) -> dict[str, Any]:
    """Return the settings with other knobs and the next generation."""
    largest_pool = 4 * _POOL.get(mode, 1) if mode is Mode.THREAD else 4
    knobs = {
        "max_in_flight": draw.choice((64, 128, 256, 512, 1_024)),
        "poll_batch_size": draw.choice((50, 200, 500, 1_000)),
        "worker_pool_size": draw.randint(1, largest_pool),
    }
    execution = {**settings["execution"], **knobs}
    return {**settings, "generation": settings["generation"] + 1, "execution": execution}


def write(settings: dict[str, Any], path: Path) -> None:
    """Replace the file in one step, as a ConfigMap's volume does."""
    whole_file.write_text(path, yaml.safe_dump(settings))
