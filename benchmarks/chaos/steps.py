"""What each fault does to the running group, and that it was really done. When it is due is `plan`'s business."""

import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)

from benchmarks.chaos import evidence, settings
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.faults import Suffered
from benchmarks.chaos.plan import BROKER_PAUSE_SECONDS, DEAD_LETTER_AWAY_SECONDS, Event, Fault
from benchmarks.chaos.reading import PROBE_KEY, delete_topics
from benchmarks.chaos.stage import Stage

ADDED_PARTITIONS = 4
DEAD_LETTER_PARTITIONS = 2
_ANSWER_SECONDS = 30
_MISSED_WITHIN_SECONDS = 60.0
_EARLY_SECONDS = 0.1
"""A fault that lasts is looked after every 50 ms."""
_NEED_A_MEMBER_AT_WORK = {Fault.KILL, Fault.TERMINATE, Fault.LEAVE}
_NEED_THE_BROKER = {
    Fault.RESTART_BROKER,
    Fault.ADD_PARTITIONS,
    Fault.REMOVE_DEAD_LETTER_TOPIC,
    Fault.RESTORE_DEAD_LETTER_TOPIC,
}


def strike(stage: Stage, event: Event) -> bool:
    """Cause a fault and count it; return False, with nothing done, when it cannot be caused just now.

    That is while its member is not at work, while a frozen broker would keep us from ever resuming it, and, for a topic
    that is away, while no consumer has missed it yet.
    """
    if event.fault in _NEED_A_MEMBER_AT_WORK and not stage.group.is_at_work(event.member):
        return False
    if event.fault in _NEED_THE_BROKER and is_frozen(stage.broker.process.pid):
        return False
    if event.fault is Fault.RESTORE_DEAD_LETTER_TOPIC and not _was_missed(stage):
        return False
    if _STEPS[event.fault](stage, event):
        stage.caused[event.fault] += 1
    return True


def _kill(stage: Stage, event: Event) -> bool:
    stage.group.kill(event.member)
    return True


def _terminate(stage: Stage, event: Event) -> bool:
    stage.group.terminate(event.member, comes_back=event.fault is Fault.TERMINATE)
    return True


def _join(stage: Stage, event: Event) -> bool:
    stage.group.start(event.member)
    return True


def _restart_broker(stage: Stage, _: Event) -> bool:
    before = stage.broker.process.pid
    stage.broker.restart()
    return stage.broker.process.pid != before


def _pause_broker(stage: Stage, event: Event) -> bool:
    stage.broker.pause()
    stage.since[event.fault] = time.monotonic()
    return True


def _resume_broker(stage: Stage, _: Event) -> bool:
    """Count the pause as one only if the broker stood still until now, and for long enough."""
    frozen = is_frozen(stage.broker.process.pid)
    stage.broker.resume()
    return frozen and _lasted(stage, Fault.PAUSE_BROKER, BROKER_PAUSE_SECONDS)


def _add_partitions(stage: Stage, _: Event) -> bool:
    total = stage.case.partitions + ADDED_PARTITIONS
    stage.admin.create_partitions([NewPartitions(stage.topic, total)])[stage.topic].result(timeout=_ANSWER_SECONDS)
    stage.load.use_partitions(total)
    return True


def _change_settings(stage: Stage, _: Event) -> bool:
    stage.settings = settings.changed(stage.settings, stage.case.mode, stage.draw)
    settings.write(stage.settings, stage.settings_file)
    return True


def _remove_dead_letters(stage: Stage, event: Event) -> bool:
    """Refuse writes first, so that nothing can be delivered between the last read and the deletion.

    By their size: Kafka 4 takes no more replicas for the minimum than there are, so that cannot refuse any.
    """
    name = stage.dead_letter_topic
    entry = ConfigEntry("max.message.bytes", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
    stage.admin.incremental_alter_configs([resource])[resource].result(timeout=_ANSWER_SECONDS)
    _wait_until_refused(stage.broker.bootstrap_servers, name)
    time.sleep(1.0)  # a request already past the check is answered by now
    stage.dead_letters |= stage.reader.dead_letters(name, origin=stage.topic)
    delete_topics(stage.admin, [name])
    stage.since[event.fault] = time.monotonic()
    return True


def _wait_until_refused(servers: str, topic: str) -> None:
    """Write probes until the broker takes none: a busy one applies the configuration seconds after it has agreed."""
    refused: set[int] = set()
    producer = Producer({"bootstrap.servers": servers, "acks": "all", "retries": 0, "linger.ms": 0, "log_level": 2})
    deadline = time.monotonic() + _ANSWER_SECONDS

    def answered(error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            refused.add(int(message.partition() or 0))

    while len(refused) < DEAD_LETTER_PARTITIONS:
        if time.monotonic() > deadline:
            raise ChaosError(f"{topic} still takes writes after {_ANSWER_SECONDS} s, so it cannot be taken away")
        for partition in set(range(DEAD_LETTER_PARTITIONS)) - refused:
            producer.produce(topic, key=PROBE_KEY, partition=partition, on_delivery=answered)
        producer.flush(5)


def _restore_dead_letters(stage: Stage, _: Event) -> bool:
    """Restore it after its time away, however late the removal was done."""
    stage.broker.create_topic(stage.dead_letter_topic, partitions=DEAD_LETTER_PARTITIONS)
    return _lasted(stage, Fault.REMOVE_DEAD_LETTER_TOPIC, DEAD_LETTER_AWAY_SECONDS)


def _was_missed(stage: Stage) -> bool:
    """Return whether a dead letter was refused since the topic is away, or so much time went by that none will be."""
    refused = evidence.log_counts(stage.folder.glob("consumer-*.log"))[Suffered.DEAD_LETTERS_REFUSED]
    return refused > 0 or _lasted(stage, Fault.REMOVE_DEAD_LETTER_TOPIC, _MISSED_WITHIN_SECONDS)


def _lasted(stage: Stage, since: Fault, seconds: float) -> bool:
    began = stage.since.get(since)
    return began is not None and time.monotonic() - began >= seconds - _EARLY_SECONDS


def is_frozen(pid: int) -> bool:
    """Return whether the kernel says that a process is stopped (state T)."""
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


_STEPS: dict[Fault, Callable[[Stage, Event], bool]] = {
    Fault.KILL: _kill,
    Fault.TERMINATE: _terminate,
    Fault.JOIN: _join,
    Fault.LEAVE: _terminate,
    Fault.RESTART_BROKER: _restart_broker,
    Fault.PAUSE_BROKER: _pause_broker,
    Fault.RESUME_BROKER: _resume_broker,
    Fault.ADD_PARTITIONS: _add_partitions,
    Fault.CHANGE_SETTINGS: _change_settings,
    Fault.REMOVE_DEAD_LETTER_TOPIC: _remove_dead_letters,
    Fault.RESTORE_DEAD_LETTER_TOPIC: _restore_dead_letters,
}
