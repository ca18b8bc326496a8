"""One case from start to end: load, consumers, faults on schedule, then the evidence. Judging is `verdict`."""

import heapq
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.chaos import evidence, settings, steps
from benchmarks.chaos.case_file import write_case
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.group import Group, end_orphans
from benchmarks.chaos.plan import LASTING, MEMBERS, SETTINGS_EVERY_SECONDS, Case, Event, Fault, schedule
from benchmarks.chaos.produce import Load
from benchmarks.chaos.reading import Reader, delete_topics
from benchmarks.chaos.stage import Stage
from benchmarks.chaos.verdict import Verdict, judge
from testbed.kafka import Kafka

TICK_SECONDS = 0.05
_LOOK_EVERY_SECONDS = 0.5
_ASSIGNED_WITHIN_SECONDS = 90.0
_ORPHAN_GRACE_SECONDS = 3.0
_ENDS = {end for _, end in LASTING.values()}
_NEEDS_NO_LOAD = {*_ENDS, Fault.CHANGE_SETTINGS}
_POSSIBLE_WITHIN_SECONDS = 60.0
"""How long a fault is put off while it cannot be caused."""


class _Due(NamedTuple):
    """An event and when it is to be tried, or tried again."""

    at_seconds: float
    event: Event


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
    except KafkaException as error:
        raise ChaosError(f"Kafka did not do what the case asked for: {error}") from error
    finally:
        _tear_down(stage)
    return Outcome(
        case=case,
        verdict=verdict,
        seconds=time.monotonic() - started,
        planned_exits=len(stage.group.unasked_exits) - verdict.unexpected_exits + stage.group.late_exits,
        folder=stage.folder,
    )


def _set_up(case: Case, broker: Kafka, root: Path) -> Stage:
    folder = root / f"{case.name}-{case.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_case(case, folder)
    topic = f"chaos.{case.name.replace('+', '.')}.{time.time_ns() // 1_000_000}"
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
    broker.create_topic(stage.dead_letter_topic, partitions=steps.DEAD_LETTER_PARTITIONS)
    settings.write(stage.settings, stage.settings_file)
    return stage


def _play(stage: Stage, patience_seconds: float, tick: Callable[[Stage], None]) -> None:
    for member in range(1, MEMBERS + 1):
        stage.group.start(member)
    _wait_until_assigned(stage)
    stage.started = time.monotonic()
    stage.load.start()
    waiting = [_Due(event.at_seconds, event) for event in schedule(stage.case)]
    while stage.load.is_alive() or any(due.event.fault is not Fault.CHANGE_SETTINGS for due in waiting):
        _turn(stage, waiting, tick)
    stage.load.require_delivered()
    _wait_until_finished(stage, waiting, patience_seconds, tick)


def _turn(stage: Stage, waiting: list["_Due"], tick: Callable[[Stage], None]) -> None:
    _strike_what_is_due(stage, waiting)
    if all(due.event.fault in _NEEDS_NO_LOAD for due in waiting):
        stage.load.release()
    stage.group.watch()
    tick(stage)
    time.sleep(TICK_SECONDS)


def _strike_what_is_due(stage: Stage, waiting: list["_Due"]) -> None:
    """Cause what is due. What lasts has its time from when it really began."""
    now = time.monotonic() - stage.started
    while waiting and waiting[0].at_seconds <= now:
        event = heapq.heappop(waiting).event
        late = now - event.at_seconds
        if steps.strike(stage, event):
            _end_in_time(stage, event, waiting)
            _go_on_changing(event, waiting, now)
        elif late < _POSSIBLE_WITHIN_SECONDS or event.fault in _ENDS:  # else it is told as not caused
            heapq.heappush(waiting, _Due(now + _LOOK_EVERY_SECONDS, event))
        now = time.monotonic() - stage.started


def _go_on_changing(event: Event, waiting: list["_Due"], now: float) -> None:
    """Change settings as long as the case lasts: on a slow machine some are skipped, and it lasts longer."""
    if event.fault is Fault.CHANGE_SETTINGS and all(due.event.fault is not event.fault for due in waiting):
        heapq.heappush(waiting, _Due(now + SETTINGS_EVERY_SECONDS, event))


def _end_in_time(stage: Stage, event: Event, waiting: list["_Due"]) -> None:
    """Put off the end of a fault that lasts by as much as its beginning was late."""
    if event.fault not in LASTING:
        return
    seconds, end = LASTING[event.fault]
    ends_at = stage.since[event.fault] - stage.started + seconds
    waiting[:] = [_Due(max(ends_at, due.at_seconds), due.event) if due.event.fault is end else due for due in waiting]
    heapq.heapify(waiting)


def _wait_until_assigned(stage: Stage) -> None:
    """Faults must strike a group that works, however long a busy machine takes to start it."""
    deadline = time.monotonic() + _ASSIGNED_WITHIN_SECONDS
    logs = [stage.group.event_log(member, 1) for member in range(1, MEMBERS + 1)]
    while not all(log.exists() and log.stat().st_size for log in logs):
        stage.group.watch()
        if stage.group.unasked_exits or time.monotonic() > deadline:
            raise ChaosError(f"the consumers did not get their partitions; see their logs in {stage.folder}")
        time.sleep(TICK_SECONDS)


def _wait_until_finished(
    stage: Stage, waiting: list["_Due"], patience_seconds: float, tick: Callable[[Stage], None]
) -> None:
    """Return when everything is committed, or when patience is over: then the verdict says what is unfinished."""
    deadline = time.monotonic() + patience_seconds
    look_at = 0.0
    while time.monotonic() < deadline:
        _turn(stage, waiting, tick)
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + _LOOK_EVERY_SECONDS
            if _is_finished(stage):
                return


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
