"""One case from start to end: load, consumers, faults on schedule, then the evidence. Judging is `verdict`."""

import random
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)

from benchmarks.chaos import evidence, settings
from benchmarks.chaos.case_file import write_case
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.group import Group, end_orphans
from benchmarks.chaos.plan import MEMBERS, Case, Event, Fault, schedule
from benchmarks.chaos.produce import Load
from benchmarks.chaos.reading import Reader, delete_topics
from benchmarks.chaos.stage import Stage
from benchmarks.chaos.verdict import Verdict, judge
from testbed.kafka import Kafka

TICK_SECONDS = 0.05
ADDED_PARTITIONS = 4
_LOOK_EVERY_SECONDS = 0.5
_ASSIGNED_WITHIN_SECONDS = 90.0
_ORPHAN_GRACE_SECONDS = 3.0
_DEAD_LETTER_PARTITIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one case."""

    case: Case
    verdict: Verdict
    seconds: float
    planned_exits: int
    """Processes that ended themselves because an attempt could not be interrupted, as they should."""
    folder: Path


def run(
    case: Case, broker: Kafka, *, root: Path, patience_seconds: float, tick: Callable[[Stage], None] = lambda _: None
) -> Outcome:
    """Run a case to its end and judge it; `tick` is called about every 50 ms while it runs.

    The case waits up to `patience_seconds` after the last fault for the group to finish everything. Raises ChaosError
    when the harness could not do its part.
    """
    started = time.monotonic()
    stage = _set_up(case, broker, root)
    try:
        _play(stage, patience_seconds, tick)
        stage.group.stop()
        orphans = end_orphans(stage.folder, grace_seconds=_ORPHAN_GRACE_SECONDS)
        verdict = judge(evidence.collect(stage, orphans=orphans))
    finally:
        _tear_down(stage)
    return Outcome(
        case=case,
        verdict=verdict,
        seconds=time.monotonic() - started,
        planned_exits=stage.group.unasked_exits if case.may_give_up else 0,
        folder=stage.folder,
    )


def _set_up(case: Case, broker: Kafka, root: Path) -> Stage:
    folder = root / f"{case.name}-{case.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_case(case, folder)
    topic = f"chaos.{case.name}.{time.time_ns() // 1_000_000}"
    broker.create_topic(topic, partitions=case.partitions)
    bootstrap = broker.bootstrap_servers
    stage = Stage(
        case=case,
        broker=broker,
        folder=folder,
        topic=topic,
        group=Group(folder, folder / "settings.yaml"),
        load=Load(case, bootstrap_servers=bootstrap, topic=topic),
        reader=Reader(bootstrap, group=topic),
        admin=AdminClient({"bootstrap.servers": bootstrap, "log_level": 2}),
        settings=settings.initial(
            case, bootstrap_servers=bootstrap, topic=topic, dead_letter_topic=f"{topic}.dlq", group=topic
        ),
        draw=random.Random(case.seed),
    )
    broker.create_topic(stage.dead_letter_topic, partitions=_DEAD_LETTER_PARTITIONS)
    settings.write(stage.settings, stage.settings_file)
    return stage


def _play(stage: Stage, patience_seconds: float, tick: Callable[[Stage], None]) -> None:
    for member in range(1, MEMBERS + 1):
        stage.group.start(member)
    _wait_until_assigned(stage)
    stage.started = time.monotonic()
    stage.load.start()
    waiting = deque(schedule(stage.case))
    while waiting or stage.load.is_alive():
        now = time.monotonic() - stage.started
        if waiting and waiting[0].at_seconds <= now:
            _STEPS[waiting[0].fault](stage, waiting.popleft())
        stage.group.watch()
        tick(stage)
        time.sleep(TICK_SECONDS)
    stage.load.require_delivered()
    _wait_until_finished(stage, patience_seconds, tick)


def _wait_until_assigned(stage: Stage) -> None:
    """Faults must strike a group that works, however long a busy machine takes to start it."""
    deadline = time.monotonic() + _ASSIGNED_WITHIN_SECONDS
    logs = [stage.group.event_log(member, 1) for member in range(1, MEMBERS + 1)]
    while not all(log.exists() and log.stat().st_size for log in logs):
        stage.group.watch()
        if stage.group.unasked_exits or time.monotonic() > deadline:
            raise ChaosError(f"the consumers did not get their partitions; see their logs in {stage.folder}")
        time.sleep(TICK_SECONDS)


def _wait_until_finished(stage: Stage, patience_seconds: float, tick: Callable[[Stage], None]) -> None:
    """Return when everything is committed, or when patience is over: then the verdict says what is unfinished."""
    deadline = time.monotonic() + patience_seconds
    look_at = 0.0
    while time.monotonic() < deadline:
        stage.group.watch()
        tick(stage)
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + _LOOK_EVERY_SECONDS
            if _is_finished(stage):
                return
        time.sleep(TICK_SECONDS)


def _is_finished(stage: Stage) -> bool:
    try:
        ends = stage.reader.end_offsets(stage.topic)
        committed = stage.reader.committed(stage.topic, list(ends))
    except (KafkaException, ChaosError):
        return False  # the broker is coming back
    return all(committed.get(partition, 0) >= end for partition, end in ends.items())


def _tear_down(stage: Stage) -> None:
    stage.broker.resume()
    stage.load.stop()
    stage.group.abandon()
    end_orphans(stage.folder, grace_seconds=0.0)
    stage.reader.close()
    delete_topics(stage.admin, [stage.topic, stage.dead_letter_topic])


def _kill(stage: Stage, event: Event) -> None:
    stage.group.kill(event.member)


def _terminate(stage: Stage, event: Event) -> None:
    stage.group.terminate(event.member, comes_back=True)


def _leave(stage: Stage, event: Event) -> None:
    stage.group.terminate(event.member, comes_back=False)


def _join(stage: Stage, event: Event) -> None:
    stage.group.start(event.member)


def _restart_broker(stage: Stage, _: Event) -> None:
    stage.broker.restart()


def _pause_broker(stage: Stage, _: Event) -> None:
    stage.broker.pause()


def _resume_broker(stage: Stage, _: Event) -> None:
    stage.broker.resume()


def _add_partitions(stage: Stage, _: Event) -> None:
    total = stage.case.partitions + ADDED_PARTITIONS
    stage.admin.create_partitions([NewPartitions(stage.topic, total)])[stage.topic].result(timeout=30)
    stage.load.use_partitions(total)


def _change_settings(stage: Stage, _: Event) -> None:
    stage.settings = settings.changed(stage.settings, stage.case.mode, stage.draw)
    settings.write(stage.settings, stage.settings_file)


def _remove_dead_letters(stage: Stage, _: Event) -> None:
    """Refuse writes first, so that nothing can be delivered between the last read and the deletion."""
    name = stage.dead_letter_topic
    entry = ConfigEntry("min.insync.replicas", "2", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
    stage.admin.incremental_alter_configs([resource])[resource].result(timeout=30)
    time.sleep(1.0)  # a request already past the check is answered by now
    stage.dead_letters |= stage.reader.dead_letters(name, origin=stage.topic)
    delete_topics(stage.admin, [name])


def _restore_dead_letters(stage: Stage, _: Event) -> None:
    stage.broker.create_topic(stage.dead_letter_topic, partitions=_DEAD_LETTER_PARTITIONS)


_STEPS: dict[Fault, Callable[[Stage, Event], None]] = {
    Fault.KILL: _kill,
    Fault.TERMINATE: _terminate,
    Fault.JOIN: _join,
    Fault.LEAVE: _leave,
    Fault.RESTART_BROKER: _restart_broker,
    Fault.PAUSE_BROKER: _pause_broker,
    Fault.RESUME_BROKER: _resume_broker,
    Fault.ADD_PARTITIONS: _add_partitions,
    Fault.CHANGE_SETTINGS: _change_settings,
    Fault.REMOVE_DEAD_LETTER_TOPIC: _remove_dead_letters,
    Fault.RESTORE_DEAD_LETTER_TOPIC: _restore_dead_letters,
}
