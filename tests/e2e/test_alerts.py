"""Each alert of the runbook with its shipped `for`: a real fault in a real pod, through Alertmanager to a receiver.

Faults run side by side, each in a resource of its own; after the cure every alert is taken back.
"""

import http.server
import json
import socketserver
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from parallel_consumer_operator.resource import names
from parallel_consumer_operator.runbook.table import TABLE
from testbed import installation, monitoring, readiness
from testbed.installation import Place
from testbed.kafka import Kafka
from testbed.monitoring import Prometheus
from testbed.progress import Progress

pytestmark = [pytest.mark.cluster, pytest.mark.alerts, pytest.mark.timeout(1_500)]

HANDLER = '''
"""Does what each message says: nothing, half a second of work, a call, a failure, or memory up to 94 % of its limit."""
import asyncio, os
from consumer_runtime import Reject
from consumer_runtime.container import Container

hoarded, container = [], Container()

async def ask():
    reader, writer = await asyncio.open_connection(os.environ["HOST"], int(os.environ["PORT"]))
    await reader.read()
    writer.close()

async def handle(message):
    match message.value:
        case b"slow":
            await asyncio.sleep(0.5)
        case b"ask":
            await ask()
        case b"insist":
            call = asyncio.ensure_future(ask())
            while not call.done():
                try:
                    await asyncio.shield(call)
                except asyncio.CancelledError:
                    pass
        case b"poison":
            raise Reject("as it asked for")
        case b"broken":
            raise RuntimeError("as it asked for")
        case b"hoard":
            while container.memory_bytes() < 0.94 * container.memory_limit_bytes():
                hoarded.append(bytearray(os.urandom(1 << 20)))
        case b"let go":
            hoarded.clear()
'''
NO_TIMEOUT = {"taskTimeoutMs": 0}
EXECUTION: dict[str, dict[str, int]] = {
    "well": {},
    "paused": {"maxInFlight": 4, **NO_TIMEOUT},
    "slow": {"maxInFlight": 1, **NO_TIMEOUT},
    "gaps": {"maxInFlight": 4_000, **NO_TIMEOUT},
    "letters": {},
    "hung": {},
    "failing": {},
    "full": {},
    "misled": {},
}
EXPECTED = {
    ("ConsumerBackpressure", "paused"),
    ("ConsumerBacklogGrowing", "slow"),
    ("ConsumerGapsGrowing", "gaps"),
    ("ConsumerParallelLagGrowing", "gaps"),
    ("ConsumerDeadLetterFailing", "letters"),
    ("ConsumerTaskOverTimeout", "hung"),
    ("ConsumerMessagesFailing", "failing"),
    ("ConsumerRetrying", "failing"),
    ("ConsumerMemoryPressure", "full"),
    ("ConsumerSettingsRejected", "misled"),
}
BY_PROMTOOL_ONLY = {"ConsumerCommitsFailing"}
"""Kafka refuses a group's commits by its ACLs; the testbed's broker has no authorizer. Unit tests have the series."""
REFUSING, TAKING = "150", "1000000"
"""Bytes that the dead letter topic takes in one message: too few for any, and enough."""
Alert = tuple[str, str]


@dataclass
class Receiver:
    """What Alertmanager told: when each alert of a resource fired first, and what fires now."""

    address: str = ""
    fired_at: dict[Alert, float] = field(default_factory=dict)
    firing: set[Alert] = field(default_factory=set)

    def take(self, notification: dict[str, Any], namespace: str) -> None:
        """Take one notification; alerts of other namespaces are no business of ours."""
        for alert in notification["alerts"]:
            labels = alert["labels"]
            if labels.get("namespace") != namespace:
                continue
            which = (labels["alertname"], labels["parallelconsumer"])
            if alert["status"] == "firing":
                self.fired_at.setdefault(which, time.monotonic())
                self.firing.add(which)
            else:
                self.firing.discard(which)


@dataclass
class Scene:
    """Consumers with their faults, and what is needed to cure them."""

    place: Place
    kafka: Kafka
    namespace: str
    received: Receiver
    answer: threading.Event
    """Set: the downstream answers whoever asks, or is still waiting."""
    begun: float = 0.0

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.place.run(self.place.kubectl, "-n", self.namespace, *arguments, stdin=stdin)

    def topic(self, name: str) -> str:
        """Return the topic of a consumer."""
        return f"{self.namespace}.{name}"

    def limit_dead_letters(self, size: str) -> None:
        """Set what the broker takes in one dead letter."""
        entry = ConfigEntry("max.message.bytes", size, incremental_operation=AlterConfigOpType.SET)
        letters = ConfigResource(ResourceType.TOPIC, self.topic("dead"), incremental_configs=[entry])
        admin = self.kafka.admin()
        for future in admin.incremental_alter_configs([letters]).values():
            future.result(30)


@pytest.fixture
def receiver(prometheus: Prometheus) -> Iterator[tuple[str, Receiver]]:
    """A receiver to which Alertmanager sends every alert on its own, firing and resolved; and the namespace to be."""
    namespace, found = f"alerts-{uuid.uuid4().hex[:6]}", Receiver()

    class Page(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            """Keep what Alertmanager sends."""
            found.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))), namespace)
            self.send_response(200)
            self.end_headers()

    server = http.server.ThreadingHTTPServer((prometheus.instance.host_address, 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://{prometheus.instance.host_address}:{server.server_port}/"
    route = {"receiver": "test", "group_by": ["..."], "group_wait": "1s", "group_interval": "5s"}
    hook = {"url": address, "send_resolved": True}
    prometheus.configure_alertmanager({"route": route, "receivers": [{"name": "test", "webhook_configs": [hook]}]})
    yield namespace, found
    prometheus.configure_alertmanager(monitoring.QUIET_ALERTMANAGER)
    server.shutdown()
    server.server_close()


@pytest.fixture
def downstream(prometheus: Prometheus) -> Iterator[tuple[int, threading.Event]]:
    """A server that takes every connection and answers none before the event: its port, and the event."""
    answer = threading.Event()

    class Silence(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            """Keep the caller waiting."""
            answer.wait()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 512

    with Server((prometheus.instance.host_address, 0), Silence) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], answer
        answer.set()
        server.shutdown()


@pytest.fixture
def scene(kafka: Kafka, receiver: tuple[str, Receiver], downstream: tuple[int, threading.Event]) -> Iterator[Scene]:
    """The operator installed as a user does, every consumer Ready, nothing produced yet."""
    progress = Progress()
    place = installation.on_testbed(progress)
    installation.helm_install(place, progress)
    namespace, received = receiver
    port, answer = downstream
    made = Scene(place, kafka, namespace, received, answer)
    place.run(place.kubectl, "create", "namespace", namespace)
    made.kubectl("create", "configmap", "code", f"--from-literal=work.py={HANDLER}")
    for name in (*EXECUTION, "dead", "failed"):
        kafka.create_topic(made.topic(name), partitions=1)
    host = kafka.instance.host_address
    manifests = [consumer(made, name, HOST=host, PORT=str(port)) for name in EXECUTION]
    made.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    made.kubectl("wait", "pcon", "--all", "--for=condition=Ready", "--timeout=150s")
    yield made
    installation.uninstall(place)
    place.run(place.kubectl, "delete", "namespace", namespace, installation.OPERATOR_NAMESPACE, "--wait=true")


def consumer(scene: Scene, name: str, **env: str) -> dict[str, Any]:
    """Return a ParallelConsumer that runs the handler over a topic of its own; nobody tunes it."""
    topic = scene.topic(name)
    kafka = {"bootstrapServers": [scene.kafka.pod_bootstrap_servers], "topics": [topic], "consumerGroup": topic}
    given = [{"name": key, "value": value} for key, value in env.items()]
    return {
        "apiVersion": "parallelconsumer.dev/v1alpha1",
        "kind": "ParallelConsumer",
        "metadata": {"name": name},
        "spec": {
            "source": {"kafka": kafka},
            "handler": {"entrypoint": "work:handle", "sourceConfigMapRef": {"name": "code"}, "env": given},
            "execution": {"mode": "async", **EXECUTION[name]},
            "deadLetter": {"enabled": True, "topic": scene.topic("failed" if name == "failing" else "dead")},
            "podTemplate": {"spec": {"consumer": {"resources": {"limits": {"memory": "400Mi"}}}}},
            "tuning": {"mode": "Off"},
            "monitoring": {"podMonitor": {"interval": "5s"}},
        },
    }  # fmt: skip


@pytest.fixture
def faults(scene: Scene) -> Iterator[Scene]:
    """The faults, begun: a downstream that does not answer, more work than one at a time can do, refused letters."""
    producer = Producer({"bootstrap.servers": scene.kafka.bootstrap_servers})
    ended = threading.Event()
    scene.limit_dead_letters(REFUSING)

    def produce(name: str, *values: bytes) -> None:
        for value in values:
            producer.produce(scene.topic(name), key=uuid.uuid4().bytes, value=value)

    def keep_on() -> None:
        """Every second: five messages where two can be done, and a call among work that is done at once."""
        second = 0
        while not ended.wait(1.0):
            second += 1
            produce("well", b"quick")
            if not scene.answer.is_set():
                produce("slow", *[b"slow"] * 5)
                produce("gaps", b"ask" if second % 3 == 0 else b"quick", b"quick")
                produce("failing", b"broken", *[b"quick"] * 10)
            elif second % 2:
                produce("letters", *[b"poison"] * 400)
            producer.flush(10)

    scene.begun = time.monotonic()
    produce("paused", *[b"ask"] * 6_000)  # more than is looked ahead for
    produce("letters", b"poison")
    produce("hung", b"insist")
    produce("full", b"hoard")
    mislead(scene)
    thread = threading.Thread(target=keep_on, daemon=True)
    thread.start()
    yield scene
    ended.set()
    thread.join(30)


def mislead(scene: Scene) -> None:
    """Write settings that no pod takes, while the operator stands aside."""
    scene.kubectl("annotate", "pcon", "misled", f"{names.ANNOTATION_PAUSED}=true")
    held = json.loads(scene.kubectl("get", "configmap", names.settings_name("misled"), "-o", "json"))["data"]
    document = yaml.safe_load(held[names.SETTINGS_KEY])
    document |= {"generation": document["generation"] + 1, "execution": document["execution"] | {"max_in_flight": 0}}
    data = {"data": {names.SETTINGS_KEY: yaml.safe_dump(document)}}
    scene.kubectl("patch", "configmap", names.settings_name("misled"), "--type=merge", "-p", json.dumps(data))


def until(what: str, holds: Callable[[], bool], received: Receiver, seconds: float) -> None:
    """Wait for something; fail with what Alertmanager told so far."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} not within {seconds:.0f} s; fired: {received.fired_at}"
        time.sleep(1)


def test_every_alert_fires_for_its_fault_and_resolves_after_the_cure(faults: Scene) -> None:
    """Not before its `for` is over, in Alertmanager's hands then, and taken back; a consumer that is well is quiet."""
    received = faults.received
    until("every alert", lambda: set(received.fired_at) >= EXPECTED, received, 600)
    waited = {row.id: row.minutes * 60 for row in TABLE}
    early = [which for which, at in received.fired_at.items() if at - faults.begun < waited[which[0]]]
    assert early == []
    cure(faults)
    until("an end of every alert", lambda: not received.firing & EXPECTED, received, 420)
    assert not [which for which in received.fired_at if which[1] == "well"]
    assert {name for name, _ in EXPECTED} | BY_PROMTOOL_ONLY == set(waited)
    readiness.wait("the pods", lambda: all_ready(faults), seconds=60)


def cure(scene: Scene) -> None:
    """The downstream answers, the slow may do more, letters are taken, memory is let go, the operator is back."""
    scene.limit_dead_letters(TAKING)
    scene.answer.set()
    more = {"spec": {"execution": {"maxInFlight": 500}}}
    scene.kubectl("patch", "pcon", "slow", "--type=merge", "-p", json.dumps(more))
    scene.kubectl("annotate", "pcon", "misled", f"{names.ANNOTATION_PAUSED}-")
    producer = Producer({"bootstrap.servers": scene.kafka.bootstrap_servers})
    producer.produce(scene.topic("full"), value=b"let go")
    producer.flush(10)


def all_ready(scene: Scene) -> bool:
    """Whether every consumer is Ready."""
    found = json.loads(scene.kubectl("get", "pcon", "-o", "json"))["items"]
    return all(
        condition["status"] == "True"
        for each in found
        for condition in each["status"]["conditions"]
        if condition["type"] == "Ready"
    )
