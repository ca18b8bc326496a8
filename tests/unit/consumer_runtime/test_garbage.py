import gc
from collections.abc import Iterator
from contextlib import suppress

import pytest

from consumer_runtime.garbage import YOUNG_OBJECTS, collected_in_larger_steps


@pytest.fixture(autouse=True)
def _threshold() -> Iterator[None]:
    """Leave the collector as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_default_is_raised_and_put_back():
    """A program that runs a consumer for a while has its own collector again afterwards, even after an error."""
    gc.set_threshold(700, 10, 10)
    with suppress(RuntimeError), collected_in_larger_steps():
        assert gc.get_threshold() == (YOUNG_OBJECTS, 10, 10)
        raise RuntimeError
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("chosen", [0, 500, 50_000])
def test_what_a_program_chose_stays(chosen):
    """Whoever set a threshold, or switched the collector off by 0, had a reason."""
    gc.set_threshold(chosen, 10, 10)
    with collected_in_larger_steps():
        assert gc.get_threshold()[0] == chosen
