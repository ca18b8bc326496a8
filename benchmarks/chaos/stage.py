"""A running case: its parts, and what must be remembered until it is judged. What is done with them is `runner`'s."""

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from benchmarks.chaos.group import Group
from benchmarks.chaos.plan import Case, Fault
from benchmarks.chaos.produce import Load
from benchmarks.chaos.reading import Place, Reader
from testbed.kafka import Kafka


@dataclass(slots=True)
class Stage:
    """Everything that a case holds while it runs."""

    case: Case
    broker: Kafka
    folder: Path
    topic: str
    group: Group
    load: Load
    reader: Reader
    admin: AdminClient
    settings: dict[str, Any]
    """As last written."""
    draw: random.Random
    dead_letters: frozenset[Place] = frozenset()
    """Those read before the topic was taken away."""
    caused: Counter[Fault] = field(default_factory=Counter)
    """What was really done to the group, not only planned."""
    since: dict[Fault, float] = field(default_factory=dict)
    """When a fault that lasts began."""
    started: float = field(default_factory=time.monotonic)

    @property
    def dead_letter_topic(self) -> str:
        """Where poison goes."""
        return f"{self.topic}.dlq"

    @property
    def settings_file(self) -> Path:
        """What the consumers read."""
        return self.folder / "settings.yaml"
