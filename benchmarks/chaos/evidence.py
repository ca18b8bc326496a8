"""Gathers what is judged, once a case's processes have ended: reads Kafka and the logs, decides nothing."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks.chaos import draws, faults
from benchmarks.chaos.handler import MARK_SUFFIX
from benchmarks.chaos.history import History, Ranges, of_logs
from benchmarks.chaos.plan import MEMBERS, Case, Mark
from benchmarks.chaos.records import Attempt, read_folder
from benchmarks.chaos.stage import Stage
from benchmarks.chaos.verdict import Evidence, Truth
from consumer_runtime.contract.state import StartReason
from consumer_runtime.ledger import codec
from consumer_runtime.termination import EXIT_CODES

_MAX_POLL_TEXT = "Application maximum poll interval"
"""What librdkafka logs when a member is expelled for not polling (rd_kafka_max_poll_interval...)."""
_WATCHDOG_STATUS = 70
"""Of mode single's watchdog: it ends a process whose only thread is stuck."""
_REFUSED_TEXT = "DLQ publish failed"
_IN_FORCE_TEXT = "settings in force"
_GENERATION = re.compile(r"generation\W+(\d+)")


def collect(stage: Stage, *, orphans: int) -> Evidence:
    """Return everything that the verdict needs; raises ChaosError when the topic itself is not as it was sent."""
    case, group = stage.case, stage.group
    odds = draws.odds_of(case)
    truth = stage.reader.truth(
        stage.topic, lambda partition, offset: draws.is_poison(case.seed, odds, partition=partition, offset=offset)
    )
    dead_letters = stage.reader.dead_letters(stage.dead_letter_topic, origin=stage.topic)
    planned = planned_statuses(case)
    exits = sum(status not in planned for status in group.unasked_exits)
    attempts, history = tuple(read_folder(stage.folder)), _history(stage)
    return Evidence(
        truth=truth,
        attempts=attempts,
        history=history,
        dead_letters=stage.dead_letters | dead_letters,
        ordering=case.ordering,
        committed=stage.reader.committed(stage.topic, list(truth)),
        unexpected_exits=exits + group.late_exits,
        orphans=orphans,
        faults_expected=faults.expected(case),
        faults_found=_suffered(stage, truth, attempts, history),
    )


def planned_statuses(case: Case) -> frozenset[int]:
    """Return the statuses with which a consumer of the case may end unasked."""
    statuses = {EXIT_CODES[reason] for reason in case.may_give_up}
    watchdog = {_WATCHDOG_STATUS} if StartReason.HANDLER_STUCK in case.may_give_up else set()
    return frozenset(statuses | watchdog)


def finished_ranges(metadata: str, offset: int) -> Ranges:
    """Return the half-open ranges of offsets that a commit at `offset` lists as finished beyond it."""
    finished = codec.decode(metadata, offset)
    return tuple(_ranges(finished, offset))


def expelled(logs: Iterable[Path]) -> int:
    """Return how often the client said that the poll interval was exceeded."""
    return sum(log.read_text(errors="replace").count(_MAX_POLL_TEXT) for log in logs)


def log_counts(logs: Iterable[Path]) -> faults.Counts:
    """Return what the consumers' own logs tell: refused dead letters, and generations of settings in force."""
    refused, generations = 0, set()
    for line in (line for log in logs for line in log.read_text(errors="replace").splitlines()):
        refused += _REFUSED_TEXT in line
        if _IN_FORCE_TEXT in line and (found := _GENERATION.search(line)):
            generations.add(found.group(1))
    return {faults.Suffered.DEAD_LETTERS_REFUSED: refused, faults.Suffered.SETTINGS_CHANGES: len(generations)}


def _suffered(stage: Stage, truth: Truth, attempts: Iterable[Attempt], history: History) -> faults.Counts:
    marks = (Mark(path.name.partition("-")[0]) for path in stage.folder.glob(f"*{MARK_SUFFIX}"))
    counts: Counter[faults.Suffered] = Counter()
    for part in (
        faults.scheduled(stage.caused),
        faults.by_marks(marks),
        faults.in_history(history, first_members=MEMBERS),
        faults.in_messages(truth),
        faults.in_attempts(attempts, first_partitions=stage.case.partitions),
        log_counts(stage.folder.glob("consumer-*.log")),
    ):
        counts.update(part)
    return {what: count for what, count in counts.items() if count}


def _history(stage: Stage) -> History:
    group = stage.group
    logs = {who: _lines(group.event_log(*who)) for who in group.deaths}
    found = of_logs(logs, group.deaths, topic=stage.topic, decode_metadata=finished_ranges)
    said = expelled(stage.folder.glob("consumer-*.log"))
    return History(
        assignments=found.assignments,
        stray_commits=found.stray_commits,
        max_poll_exceeded=max(found.max_poll_exceeded, said),
    )


def _lines(path: Path) -> list[str]:
    """A process that was killed before it made a client has logged nothing."""
    return path.read_text().splitlines() if path.exists() else []


def _ranges(finished: bytes, offset: int) -> Iterable[tuple[int, int]]:
    first = finished.find(1)
    while first >= 0:
        end = finished.find(0, first)
        end = len(finished) if end < 0 else end
        yield offset + first, offset + end
        first = finished.find(1, end)
