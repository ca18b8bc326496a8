"""Collects the looks at a run, shows each, and ends in the summary and its JSON file."""

import dataclasses
import json
from pathlib import Path

from rich.console import Console

from parallel_consumer_operator.local import story
from parallel_consumer_operator.local.look import apply_seconds, look
from parallel_consumer_operator.local.sample import Sample, Summary, shortfalls, summarize
from parallel_consumer_operator.local.table import LiveTable
from parallel_consumer_operator.port import Manifest


class Recorder:
    """One run's samples, newest last."""

    def __init__(self, table: LiveTable) -> None:
        self._table = table
        self._apply_seconds: dict[int, float] = {}
        self.samples: list[Sample] = []
        self.consumer: Manifest = {}

    def add(self, second: float, consumer: Manifest, pods: list[tuple[Manifest, str]]) -> Sample:
        """Record and show one look: the resource, and each pod with its metrics page."""
        sample = look(second, consumer, pods)
        if (applied := apply_seconds(consumer)) is not None:
            self._apply_seconds[applied[0]] = applied[1]
        self.samples.append(sample)
        self.consumer = consumer
        self._table.show(sample)
        return sample

    def summary(self, *, offered: int) -> Summary:
        """Return the run in figures; the hand-over of the first settings is no step and left out."""
        first = min(self._apply_seconds, default=0)
        steps = [seconds for generation, seconds in self._apply_seconds.items() if generation != first]
        left = self.samples[-1].backlog
        return summarize(
            self.samples, offered=offered, backlog_end=offered if left is None else left, apply_seconds=steps
        )

    def finish(self, console: Console, *, offered: int, output: Path) -> bool:
        """Print history and figures, write `output` as JSON, and return whether every promise was kept."""
        summary = self.summary(offered=offered)
        missed = shortfalls(summary)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(dataclasses.asdict(summary), indent=2) + "\n")
        story.print_history(console, self.consumer)
        story.print_summary(console, summary, missed)
        console.print(f"Written: {output}")
        return not missed
