"""A consumer as its own process, as a pod runs it, and topics on the real Kafka."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from consumer_runtime.contract import pod
from consumer_runtime.contract.state import RuntimeState, StartError
from testbed.kafka import Kafka

HANDLERS = """
import asyncio, logging, time

from consumer_runtime import batch
from consumer_runtime.results import Result

log = logging.getLogger("shop")

async def handle(message):
    log.debug("seen")
    await asyncio.sleep(0.001)

async def picky(message):
    int(message.value)

def two_arguments(a, b):
    pass

def doubled(message):
    return Result(b"%d" % (2 * int(message.value)), key=message.key)

async def doubled_async(message):
    await asyncio.sleep(0.001)
    return doubled(message)

@batch(20)
def doubled_together(messages):
    return [doubled(message) for message in messages]

@batch(10_000)
def sizes(messages):
    time.sleep(0.002)
    return Result(b"%d" % len(messages))

def same(message):
    return message.value

def astray(message):
    return Result(message.value, topic="no topic!" if message.value == b"astray" else None)

def returns_a_number(message):
    return 5

def ignores(message):
    pass
"""


class Topics:
    """Topics of one test, on the real broker."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._admin = AdminClient({"bootstrap.servers": servers})

    def create(self, *, partitions: int = 4, name: str = "") -> str:
        """Make a topic, by default under a name of its own, and return the name once the broker leads it."""
        name = name or f"program-{uuid.uuid4().hex[:12]}"
        self._admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        within(10, lambda: name in self._admin.list_topics(timeout=5).topics)
        return name

    def produce(self, topic: str, values: list[bytes]) -> None:
        """Send the values, each under a key of its own."""
        producer = Producer({"bootstrap.servers": self.servers})
        for number, value in enumerate(values):
            producer.produce(topic, value, b"%d" % number)
        assert producer.flush(30) == 0

    def read(self, topic: str, count: int) -> list[Message]:
        """Read a topic from its beginning until `count` messages were there, or ten seconds went by."""
        reader = Consumer(
            {"bootstrap.servers": self.servers, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
        )
        reader.subscribe([topic])
        found: list[Message] = []
        for _ in range(50):
            found += reader.consume(1_000, 0.2)
            if len(found) >= count:
                break
        reader.close()
        return found

    def values(self, topic: str, count: int) -> list[bytes | None]:
        """Read a topic's values, as `read` does."""
        return [message.value() for message in self.read(topic, count)]

    def left(self, topic: str, group: str) -> int:
        """Return how many messages the group has not committed."""
        partitions = [
            TopicPartition(topic, number) for number in self._admin.list_topics(topic).topics[topic].partitions
        ]
        asked = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions)])
        committed = {each.partition: max(each.offset, 0) for each in asked[group].result(10).topic_partitions}
        ends = self._admin.list_offsets({each: OffsetSpec.latest() for each in partitions})
        return sum(future.result(10).offset - committed[each.partition] for each, future in ends.items())


class Program:
    """`python -m consumer_runtime run` in a folder of its own, with its settings file, log and termination message."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.config = folder / "runtime.yaml"
        self._message = folder / "termination-log"
        self._log = folder / "log"
        self.write(settings)
        (folder / "handlers.py").write_text(HANDLERS, encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, settings: dict[str, Any] | str) -> None:
        """Replace the settings file."""
        content = settings if isinstance(settings, str) else yaml.safe_dump(settings)
        new = self.config.with_suffix(".new")
        new.write_text(content, encoding="utf-8")
        new.replace(self.config)

    def start(self, **environment: str) -> "Program":
        """Start it; returns at once."""
        given = {pod.TERMINATION_MESSAGE_FILE_VARIABLE: str(self._message), **environment}
        command = [sys.executable, "-m", "consumer_runtime", "run", "--config", str(self.config)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=os.environ | given, stdout=log, stderr=log)
        return self

    def exit_code(self, *, within_seconds: float = 30) -> int:
        """Wait for the end."""
        assert self.process is not None
        return self.process.wait(within_seconds)

    def stop(self) -> int:
        """Send SIGTERM, as the kubelet does, and wait for the end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def kill(self) -> None:
        """End it, whatever it does; nothing happens when it has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    @property
    def stderr(self) -> str:
        """Everything that it wrote."""
        return self._log.read_text(encoding="utf-8")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines of one event."""
        lines = [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def message(self) -> StartError:
        """Return the termination message."""
        return StartError.model_validate_json(self._message.read_text(encoding="utf-8"))

    def get(self, path: str) -> tuple[int, str]:
        """Ask for a page; (0, "") while nothing is served."""
        serving = self.logged("serving")
        if not serving:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{serving[0]['port']}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def state(self) -> RuntimeState | None:
        """Return what it says of itself, None while nothing is served."""
        status, body = self.get("/state")
        return RuntimeState.model_validate_json(body) if status == 200 else None

    def metric(self, name: str) -> float | None:
        """Return the sum over a metric's series, None when there are none."""
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in lines) if lines else None


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Wait until something holds; say whether it came to hold in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def eventually() -> Callable[[float, Callable[[], bool]], bool]:
    """Wait for the world: `eventually(seconds, lambda: ...)`."""
    return within


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    """Make topics on the real broker."""
    return Topics(kafka.bootstrap_servers)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], Program]]:
    """Make programs from settings; those that still run at the end of the test are ended."""
    made: list[Program] = []

    def make(settings: dict[str, Any]) -> Program:
        folder = tmp_path / f"program-{len(made)}"
        folder.mkdir()
        made.append(Program(folder, settings))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture
def settings_for(topics: Topics) -> Callable[..., dict[str, Any]]:
    """Settings of a topic on the real broker, and whatever else a test states."""

    def make(topic: str, *, servers: str | None = None, **sections: Any) -> dict[str, Any]:
        kafka = {
            "bootstrap_servers": [servers or topics.servers],
            "topics": [topic],
            "consumer_group": f"{topic}-group",
        }
        stated = {"source": {"kafka": kafka}, "handler": {"entrypoint": "handlers:handle"}, "http": {"port": 0}}
        return stated | sections

    return make
