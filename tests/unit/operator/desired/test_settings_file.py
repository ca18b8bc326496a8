"""The ConfigMap: its generation, what a runtime reads from it, and the tuned values it keeps."""

from typing import Any

import pytest
import yaml

from consumer_runtime.contract.settings import RuntimeSettings
from parallel_consumer_operator.desired.effective import Tuned, resolve
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.desired.settings_file import (
    generation_of,
    next_generation,
    settings_map,
    tuned_in,
)
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

OWNER = Owner(namespace="shop", name="orders", uid="1")
SPEC = ParallelConsumerSpec.model_validate(
    {
        "source": {"kafka": {"bootstrapServers": ["kafka:9092"], "topics": ["orders"], "consumerGroup": "orders"}},
        "handler": {"entrypoint": "orders:handle"},
        "execution": {"maxInFlight": 16},
    }
)
PLAIN = resolve(SPEC, tuned={}, cpu_limit=None)
RAISED = resolve(SPEC, tuned={"maxInFlight": Tuned(64, start=16)}, cpu_limit=None)


def test_the_runtime_reads_back_what_was_meant() -> None:
    """The file is the runtime's settings, generation included."""
    document = yaml.safe_load(settings_map(OWNER, RAISED, generation=7)["data"]["runtime.yaml"])
    assert RuntimeSettings.model_validate(document) == RAISED.settings.model_copy(update={"generation": 7})


def test_what_stands_at_its_default_is_left_out() -> None:
    """A runtime one version behind does not know the newest fields, and need not while nobody uses them."""
    document = yaml.safe_load(settings_map(OWNER, PLAIN, generation=1)["data"]["runtime.yaml"])
    assert document.keys() == {"generation", "source", "handler", "execution"}
    assert document["execution"].keys() == {"mode", "max_in_flight", "poll_batch_size", "worker_pool_size"}


@pytest.mark.parametrize(
    ("live", "known", "expected"),
    [
        (None, 0, 1),
        (None, 5, 6),
        (settings_map(OWNER, PLAIN, generation=3), 3, 3),
        (settings_map(OWNER, PLAIN, generation=3), 9, 3),
        (settings_map(OWNER, RAISED, generation=3), 3, 4),
        (settings_map(OWNER, RAISED, generation=3), 9, 10),
        ({"metadata": {}, "data": {"runtime.yaml": "{not yaml"}}, 3, 4),
        ({"metadata": {}, "data": {"runtime.yaml": "[]"}}, 3, 4),
        ({"metadata": {}, "data": {}}, 0, 1),
    ],
)
def test_the_generation_counts_changes_of_content(live: dict[str, Any] | None, known: int, expected: int) -> None:
    """It stays while the content is the same, and never falls: not after a deletion, not after vandalism."""
    assert next_generation(PLAIN, live=live, known=known) == expected


def test_tuned_values_survive_the_loss_of_the_status() -> None:
    """The ConfigMap carries them with the start they were decided upon."""
    stored = settings_map(OWNER, RAISED, generation=2)
    assert tuned_in(stored) == {"maxInFlight": Tuned(64, start=16)}
    assert generation_of(stored) == 2


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", '{"maxInFlight": 3}', '{"maxInFlight": {"value": "x", "start": 1}}']
)
def test_an_unreadable_note_is_no_note(text: str) -> None:
    """Someone's edit of the annotation cannot stop the operator."""
    assert tuned_in({"metadata": {"annotations": {"parallelconsumer.dev/tuned": text}}}) == {}
