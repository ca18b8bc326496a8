import io
import time

import pytest
from rich.console import Console

from testbed import progress
from testbed.progress import Progress, in_words


@pytest.fixture
def output() -> io.StringIO:
    """What is printed."""
    return io.StringIO()


@pytest.fixture
def telling(output: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Progress:
    """Progress without a terminal, that speaks often."""
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_SECONDS", 0.05)
    return Progress(console=Console(file=output, highlight=False, soft_wrap=True))


def test_a_long_step_says_what_how_long_and_how_much_is_left(telling: Progress, output: io.StringIO):
    """Without a terminal each line tells the step, the seconds so far and the estimate for all that is left."""
    telling.plan({"kubernetes": 300, "helm": 60})
    with telling.step("kubernetes"):
        time.sleep(0.2)
    lines = output.getvalue().splitlines()
    assert lines[0] == "To build: kubernetes, helm; about 6 min."
    assert lines[1] == "kubernetes: begins, about 6 min left"
    assert "kubernetes: 0 s, about 6 min left" in lines
    assert lines[-1].startswith("kubernetes: done in 0.")


def test_what_is_done_no_longer_counts(telling: Progress):
    """The estimate shrinks by the steps that have ended and by the time that has passed."""
    telling.plan({"kubernetes": 300, "helm": 60})
    assert telling.remaining("kubernetes", 100) == ", about 4 min left"
    with telling.step("kubernetes"):
        pass
    assert telling.remaining("helm", 15) == ", about 45 s left"
    assert telling.remaining("helm", 1000) == ", longer than the expected 60 s; after it about 0 s"


def test_a_failed_step_says_so(telling: Progress, output: io.StringIO):
    """The step's last line is true, and the error goes on."""
    with pytest.raises(ZeroDivisionError), telling.step("sum"):
        raise ZeroDivisionError
    assert "sum: failed in 0." in output.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (1499, "25 min")])
def test_durations_are_words(seconds: float, words: str):
    """Seconds up to two minutes, then minutes."""
    assert in_words(seconds) == words
