"""The runbook as one table: each condition, its PromQL from the metric catalogue, and what people and the tuner do.

PrometheusRule, `docs/runbook.md` and their tests come from here (`rendering.py`). The tuner's gates and rules that a
row feeds are named by it; what they do in detail is theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from consumer_runtime.contract import metrics
from consumer_runtime.contract.metrics import DeadLetterOutcome, Metric, Status
from parallel_consumer_operator.tuning.decision import Gate, Rule
from parallel_consumer_operator.tuning.gates import MEMORY_PRESSURE
from parallel_consumer_operator.tuning.queries import PARTITION, POD_LABEL, RESOURCE

POD = f"{RESOURCE}, {POD_LABEL}"
FAILED_SHARE = 0.01
"""Failures beyond this share raise an alert: the documents' figure for dead letters, and the default of gate Frozen."""


class Severity(StrEnum):
    """Who has to look, and when."""

    WARNING = "warning"
    """In working hours."""
    CRITICAL = "critical"
    """Now."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One row. `expression` is PromQL as a function of the label matchers of the series looked at."""

    id: str
    expression: Callable[[str], str]
    minutes: int
    """How long it has to hold before the alert fires."""
    severity: Severity
    summary: str
    """For people, with Prometheus' own templates."""
    action: str
    """What to do."""
    feeds: tuple[Gate | Rule, ...] = ()
    """The tuner's gates and rules that look at the same."""


def _backpressure(matchers: str) -> str:
    return f"max by ({POD}) ({metrics.BACKPRESSURE.name}{matchers}) == 1"


def _growing(metric: Metric) -> Callable[[str], str]:
    return lambda matchers: f"max by ({PARTITION}) (deriv({metric.name}{matchers}[5m])) > 0"


def _share(part: Metric, label: str, whole: tuple[Metric, ...]) -> Callable[[str], str]:
    def expression(matchers: str) -> str:
        failing = f"{part.name}{{{matchers[1:-1]},{label}}}"
        all_ = " + ".join(f"sum by ({RESOURCE}) (rate({metric.name}{matchers}[5m]))" for metric in whole)
        return f"sum by ({RESOURCE}) (rate({failing}[5m])) / ({all_}) > {FAILED_SHARE}"

    return expression


def _oldest_task(matchers: str) -> str:
    timeout = f'{metrics.KNOB.name}{{{matchers[1:-1]},knob="task_timeout_ms"}}'
    limit = f"max by ({POD}) ({timeout} > 0) / 1000"
    return f"max by ({POD}) ({metrics.OLDEST_TASK.name}{matchers}) > on ({POD}) ({limit})"


def _retried(matchers: str) -> str:
    retried = f"sum by ({RESOURCE}) (rate({metrics.RETRIES.name}{matchers}[5m]))"
    return (
        f"{retried} / ({retried} + sum by ({RESOURCE}) (rate({metrics.PROCESSED.name}{matchers}[5m]))) > {FAILED_SHARE}"
    )


def _commits_refused(matchers: str) -> str:
    return f"max by ({POD}) (rate({metrics.COMMIT_FAILURES.name}{matchers}[5m])) > {5 * FAILED_SHARE}"


def _memory(matchers: str) -> str:
    limit = f"({metrics.MEMORY_LIMIT.name}{matchers} > 0)"
    return f"max by ({POD}) ({metrics.MEMORY.name}{matchers} / {limit}) >= {MEMORY_PRESSURE}"


def _rejected(matchers: str) -> str:
    return f"max by ({POD}) ({metrics.CONFIG_REJECTED.name}{matchers}) == 1"


_WHO = "{{ $labels.namespace }}/{{ $labels.parallelconsumer }}"
_WHERE = "{{ $labels.topic }}/{{ $labels.partition }}"
_UNSUCCESSFUL = f'status=~"{Status.FAILED}|{Status.DEAD_LETTERED}"'
_STUCK = (
    "A stuck offset, or slow workers: look at the oldest task and at the service time; "
    "a hot key shows in one partition."
)

TABLE: tuple[Condition, ...] = (
    Condition(
        "ConsumerBackpressure", _backpressure, 1, Severity.WARNING,
        f"{_WHO}: pod {{{{ $labels.pod }}}} keeps partitions paused.",
        "Look at maxInFlight and the queue depth. With flat service time the limit binds: raise it. "
        "With rising service time the downstream has enough: lower it.",
        (Rule.LIMIT_BINDING, Rule.DOWNSTREAM_SATURATED),
    ),
    Condition(
        "ConsumerParallelLagGrowing", _growing(metrics.PARALLEL_LAG), 5, Severity.WARNING,
        f"{_WHO}: fetched but not committed messages of {_WHERE} grow.", _STUCK, (Gate.STUCK_OFFSET,),
    ),
    Condition(
        "ConsumerGapsGrowing", _growing(metrics.GAP_COUNT), 5, Severity.WARNING,
        f"{_WHO}: unfinished ranges of {_WHERE} grow.", _STUCK, (Gate.STUCK_OFFSET, Rule.THRASH),
    ),
    Condition(
        "ConsumerBacklogGrowing", _growing(metrics.BACKLOG), 5, Severity.WARNING,
        f"{_WHO}: the backlog of {_WHERE} grows.",
        "More comes in than is done. The tuner raises what binds; when it says Saturated, follow its advice: a bound, "
        "replicas up to the number of partitions, more partitions, or another mode.",
        (Rule.FETCH_STARVED, Rule.LIMIT_BINDING, Rule.WORKERS_BUSY),
    ),
    Condition(
        "ConsumerDeadLetterFailing",
        _share(metrics.DEAD_LETTER, f'outcome="{DeadLetterOutcome.FAILED}"', (metrics.DEAD_LETTER,)), 5,
        Severity.CRITICAL, f"{_WHO}: dead letters are refused.",
        "Check the broker, the ACLs, the topic and the payload mode. The messages stay held and uncommitted; "
        "nothing is lost. Raises are blocked; lowering and rollback go on.", (Gate.FROZEN,),
    ),
    Condition(
        "ConsumerTaskOverTimeout", _oldest_task, 1, Severity.CRITICAL,
        f"{_WHO}: a handler call in pod {{{{ $labels.pod }}}} runs beyond the task timeout.",
        "The runtime gives the task up; where it cannot be interrupted it drains the rest and exits, and Kubernetes "
        "restarts it. Look for what the handler waits for.", (Gate.STUCK_OFFSET,),
    ),
    Condition(
        "ConsumerMessagesFailing", _share(metrics.PROCESSED, _UNSUCCESSFUL, (metrics.PROCESSED,)), 5, Severity.WARNING,
        f"{_WHO}: messages fail for good.", "Read the reason in the dead letters' headers or in the log.",
        (Gate.FROZEN,),
    ),
    Condition(
        "ConsumerRetrying", _retried, 5, Severity.WARNING, f"{_WHO}: attempts fail and are repeated.",
        "Look at the handler's downstream; check that retries and dead letter fit the handler's idempotency.",
        (Gate.FROZEN,),
    ),
    Condition(
        "ConsumerCommitsFailing", _commits_refused, 5, Severity.CRITICAL,
        f"{_WHO}: pod {{{{ $labels.pod }}}} cannot commit.",
        "Check the broker and the ACLs of the group; what is done again after a restart grows meanwhile.",
        (Gate.FROZEN,),
    ),
    Condition(
        "ConsumerMemoryPressure", _memory, 1, Severity.CRITICAL,
        f"{_WHO}: pod {{{{ $labels.pod }}}} is near its memory limit.",
        "maxInFlight is lowered at once. Give the pods more memory, or lower maxInFlightBytes.",
        (Gate.MEMORY_PRESSURE,),
    ),
    Condition(
        "ConsumerSettingsRejected", _rejected, 5, Severity.WARNING,
        f"{_WHO}: pod {{{{ $labels.pod }}}} refuses its settings and runs with the last good ones.",
        "The condition Degraded and the log name the field and what is allowed.", (Gate.NOT_STABLE,),
    ),
)  # fmt: skip
"""The documents' four conditions first (lag and gaps one row each), then ours."""
