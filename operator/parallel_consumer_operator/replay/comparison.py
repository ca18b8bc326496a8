"""Recorded outcomes beside those decided again, as rows and as sentences. Prints nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from parallel_consumer_operator.replay import other_policy
from parallel_consumer_operator.replay.recording import Recorded
from parallel_consumer_operator.resource.tuning import Knob
from parallel_consumer_operator.tuning.journal import Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded decision and what came out this time."""

    recorded: Recorded
    again: Outcome

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.recorded.entry.agrees(self.again)

    @property
    def resource(self) -> str:
        """`namespace/name`."""
        return f"{self.recorded.entry.namespace}/{self.recorded.entry.name}"

    @property
    def now(self) -> datetime:
        """When it was decided."""
        return self.recorded.entry.now


def decided_again(recorded: Iterable[Recorded]) -> list[Row]:
    """Decide every recorded decision again."""
    return [Row(each, each.entry.decide_again()) for each in recorded]


def under(recorded: Iterable[Recorded], path: Path, changes: other_policy.Changes) -> list[Row]:
    """Decide every recorded decision as the policy of a file would have: each from the situation as it was.

    What a different step would have led to was never measured; the simulator is for that.
    Raises UnreadableError when the policy is none.
    """
    return [
        Row(each, each.entry.decide_again(other_policy.policy(path, each.entry.policy, changes))) for each in recorded
    ]


def brief(outcome: Outcome) -> str:
    """Return an outcome in a few words: `Step LimitBinding: maxInFlight 16 -> 32`, `Hold OnTarget`."""
    words = f"{outcome.action} {outcome.reason}"
    if outcome.knob is None:
        return words
    begin = "" if outcome.from_value is None else f"{outcome.from_value} "
    return f"{words}: {outcome.knob} {begin}-> {outcome.to_value}"


def differences(row: Row) -> list[str]:
    """Return a differing row as lines: where it is, and each field that differs."""
    entry, again = row.recorded.entry, row.again
    lines = [f"line {row.recorded.line} ({row.now.isoformat()} {row.resource}):"]
    for name in Outcome.model_fields:
        before, after = getattr(entry, name), getattr(again, name)
        if before != after:
            lines += [f"  - {name}: {_shown(before)}", f"  + {name}: {_shown(after)}"]
    return lines


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def value_of(row: Row, knob: Knob) -> int | None:
    """Return a knob's value that was in force when the decision was taken."""
    known = row.recorded.entry.window.circumstances
    return known.current.of(knob) or known.starts.of(knob)
