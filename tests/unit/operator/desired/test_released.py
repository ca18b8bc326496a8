"""A runtime one version behind: it takes the settings of whoever states nothing new, and its `/state` is understood.

`released/` holds what the last released contract said: the settings' schema and an answer of `/state`, frozen.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from consumer_runtime.contract.state import RuntimeState
from parallel_consumer_operator.desired.effective import Tuned, resolve
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.desired.settings_file import settings_map
from parallel_consumer_operator.resource.names import SETTINGS_KEY
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec, Profile

RELEASED = Path(__file__).resolve().parents[1] / "released"
KAFKA = {"bootstrapServers": ["kafka:9092"], "topics": ["orders"], "consumerGroup": "orders"}


def written(kafka: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """Return the settings file of a spec, with a tuned value in it, as a pod reads it."""
    spec = ParallelConsumerSpec.model_validate(
        {"source": {"kafka": KAFKA | (kafka or {})}, "handler": {"entrypoint": "orders:handle"}, **sections}
    )
    effective = resolve(spec, tuned={"maxInFlight": Tuned(512, start=256)}, cpu_limit=2)
    text = settings_map(Owner("shop", "orders", "1"), effective, generation=3)["data"][SETTINGS_KEY]
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def refusals(file: Path, settings: dict[str, Any]) -> list[str]:
    """Return what a released runtime has against a settings file."""
    validator = jsonschema.Draft202012Validator(json.loads(file.read_text()))
    return [error.message for error in validator.iter_errors(settings)]


SETTINGS = sorted(RELEASED.glob("*-settings.json"))


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: file.stem)
@pytest.mark.parametrize(
    "sections",
    [
        *({"profile": profile.value} for profile in Profile),
        {"execution": {"mode": "process", "process": {"batchSize": 8}}},
        {"retry": {"maxRetries": 1}, "deadLetter": {"enabled": True, "topic": "d"}, "logLevel": "DEBUG"},
        {"circuitBreaker": {}, "results": {"topic": "done"}, "kafka": {"membership": "static"}},
    ],
)
def test_an_older_runtime_takes_what_states_nothing_new(file: Path, sections: dict[str, Any]) -> None:
    """Fields that it does not know stand at their default and are left out."""
    assert refusals(file, written(**sections)) == []


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: file.stem)
def test_the_frozen_schema_refuses_what_it_does_not_know(file: Path) -> None:
    """A newer field that somebody states reaches the older runtime, which refuses it: never silently without effect."""
    assert "fresh" in refusals(file, {**written(), "fresh": 1})[0]


@pytest.mark.parametrize("file", sorted(RELEASED.glob("*-state.json")), ids=lambda file: file.stem)
def test_what_an_older_runtime_says_of_itself_is_understood(file: Path) -> None:
    """The handshake needs the generation, whatever newer fields are missing."""
    state = RuntimeState.model_validate_json(file.read_text())
    assert (state.config_generation, state.assigned_partitions) == (3, 4)
