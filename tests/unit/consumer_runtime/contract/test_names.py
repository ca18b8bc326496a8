import re

import pytest
from pydantic import BaseModel
from pydantic.alias_generators import to_snake

from consumer_runtime.contract.knobs import Knobs, ProcessKnobs, bounds, camel_case, hot_knobs, tunable_knobs
from consumer_runtime.contract.settings import (
    DeadLetterSettings,
    ExecutionSettings,
    HandlerSettings,
    KafkaSettings,
    RetryPolicy,
    RetrySettings,
)

MODELS: tuple[type[BaseModel], ...] = (
    DeadLetterSettings, ExecutionSettings, HandlerSettings, KafkaSettings, RetryPolicy, RetrySettings, ProcessKnobs,
)  # fmt: skip
NAMES = sorted({name for model in MODELS for name in model.model_fields})


@pytest.mark.parametrize("name", NAMES)
def test_names_go_to_the_resource_and_back(name):
    """Each runtime name has one spelling in the resource, from which it comes back unchanged."""
    assert to_snake(camel_case(name)) == name
    assert re.fullmatch(r"[a-z][a-zA-Z0-9]*", camel_case(name))


def test_no_two_names_share_a_spelling():
    """Or one of them could not be set."""
    assert len({camel_case(name) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", list(Knobs.model_fields))
def test_a_knobs_default_is_inside_its_bounds(name):
    """Whoever raises a bound or a default is told."""
    low, high = bounds(name)
    assert low <= Knobs.model_fields[name].default <= high


def test_what_the_tuner_changes_needs_no_restart():
    """A tuned knob that waits for a restart would never be in force."""
    assert set(tunable_knobs()) <= set(hot_knobs())
