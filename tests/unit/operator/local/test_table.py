"""The live table, as people and pipes see it."""

import io

from rich.console import Console

from parallel_consumer_operator.local.sample import PodLook, Sample
from parallel_consumer_operator.local.table import LiveTable


def samples() -> list[Sample]:
    """Return two looks a second apart, with a step between them."""
    pod = PodLook("a", 0, 0)
    first = Sample(1.0, (pod,), None, {"max_in_flight": 16}, 0, "WindowNotFull", "2 s of 10 s")
    second = Sample(2.0, (PodLook("a", 0, 750),), 1234, {"max_in_flight": 32}, 1, "LimitBinding", "16 -> 32")
    return [first, second]


def test_in_a_pipe_each_look_is_one_line():
    """Second, rate, backlog, knobs, decision, reason; unknown is a dash and not a zero."""
    out = io.StringIO()
    with LiveTable("t", Console(file=out, width=200)) as table:
        for sample in samples():
            table.show(sample)
    first, second = out.getvalue().splitlines()
    assert first.split("  ") == ["1", "-", "-", "maxInFlight=16", "WindowNotFull", "2 s of 10 s"]
    assert second.split("  ") == ["2", "750", "1,234", "maxInFlight=32", "LimitBinding", "16 -> 32"]


def test_on_a_terminal_it_is_a_table():
    """The knob has a column of its own, under its name in the resource."""
    out = io.StringIO()
    console = Console(file=out, width=160, height=40, force_terminal=True)
    with LiveTable("short-io", console) as table:
        for sample in samples():
            table.show(sample)
    shown = out.getvalue()
    for word in ("second", "backlog", "maxInFlight", "1,234", "LimitBinding"):
        assert word in shown
