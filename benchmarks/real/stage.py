"""What a run on real parts is asked for and what it leaves behind, wherever the pods are. Nothing is started here."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.simulator.workload import Knobs, Workload
from parallel_consumer_operator.local.look import look
from parallel_consumer_operator.local.sample import Sample
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource.status import ParallelConsumerStatus
from parallel_consumer_operator.resource.tuning import Knob, TuningMode
from parallel_consumer_operator.resource.tuning_status import HistoryEntry, HistoryKind

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A part of a workload's schedule, in seconds, under these knobs, tuned or not."""

    workload: Workload
    knobs: Knobs
    mode: TuningMode
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end - self.begin


@dataclass(slots=True)
class RealRun:
    """What a run leaves behind; seconds count from the first message offered."""

    start: Knobs
    samples: list[Sample] = field(default_factory=list)
    history: dict[str, HistoryEntry] = field(default_factory=dict)
    """Every step and rollback by its id."""
    tuned: Knobs = field(default_factory=dict)

    def add(self, second: float, consumer: Manifest, pages: list[tuple[Manifest, str]]) -> None:
        """Keep one look: the resource, and each pod with its metrics page, empty when it did not answer."""
        if pages and all(text for _, text in pages):
            self.samples.append(look(second, consumer, pages))
        tuning = ParallelConsumerStatus.parse(consumer).tuning
        for entry in tuning.history:
            self.history[entry.id] = entry
        self.tuned = {knob: value for knob in Knob if (value := tuning.knobs.of(knob)) is not None}

    @property
    def knobs(self) -> Knobs:
        """The knobs at the end."""
        return {**self.start, **self.tuned}

    def rate(self, since: float, until: float) -> float:
        """Return messages finished per second between two moments."""
        seen = [sample for sample in self.samples if since <= sample.second <= until]
        if len(seen) < 2:
            return 0.0
        return (seen[-1].processed - seen[0].processed) / (seen[-1].second - seen[0].second)

    @property
    def changes(self) -> list[HistoryEntry]:
        """Steps and rollbacks in order of time."""
        kinds = {HistoryKind.STEP, HistoryKind.ROLLBACK}
        return sorted((each for each in self.history.values() if each.kind in kinds), key=lambda each: each.time)


class Stage(Protocol):
    """Where pods run."""

    def perform(self, plan: Plan) -> RealRun:
        """Run a plan on a topic of its own; raises RealRunError when it does not come about."""
        ...


Opened = AbstractContextManager[Stage]
"""A stage for as long as it lasts; everything that it brought up is gone afterwards."""


def create_topic(servers: str, topic: str, partitions: int) -> None:
    """Make an empty topic."""
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(timeout=30)
