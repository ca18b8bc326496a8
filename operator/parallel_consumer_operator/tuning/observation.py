"""What one cycle of the tuner sees: measurements over two windows, and the circumstances they were taken in.

Pure data. `queries.py` says how it is asked for, `parallel_consumer_operator.prometheus` asks.
"""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.tuning_status import KnobValues

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Seen(BaseModel):
    """Root of what is seen: exact, unchangeable, and the same after a round trip through JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Measurement(Seen):
    """Figures of all pods of one resource: over the short window and summed, unless it says otherwise."""

    pods: Annotated[int, Field(ge=0)]
    """Pods that every figure covers."""
    rate: Amount
    """Messages finished per second, whatever their status."""
    rate_long: Amount
    arrivals: Amount
    """Messages per second that came in: the rate plus the growth of the backlog."""
    backlog: Amount
    """End offsets minus committed offsets, now."""
    backlog_peak_long: Amount
    """The largest backlog of each partition in the long window, summed."""
    backlog_slope: Annotated[float, Field(allow_inf_nan=False)]
    """Growth of the backlog, messages per second."""
    hottest_partition: str = ""
    """`topic/partition` with the largest backlog."""
    hottest_share: Share = 0
    """Its share of the backlog."""
    partitions: Annotated[int, Field(ge=0)] = 0
    """Partitions assigned to all pods."""
    service_seconds: Amount | None
    """The handler's own mean time for one attempt; None when nothing was attempted."""
    service_seconds_long: Amount | None
    service_seconds_p99: Amount | None
    """99th percentile of the handler's own time; None when nothing was attempted."""
    latency_seconds_p99: Amount | None
    """From admission to completion, for people: behind, it is mostly the wait in our own look-ahead."""
    error_ratio: Share
    """Attempts that failed, of all attempts."""
    dead_letter_failed_ratio: Share
    """Dead letters that the broker refused, of all published."""
    commit_failed_ratio: Share
    """Commits refused, of those that the interval of 200 ms allows."""
    limit_full: Share
    """Share of the time in which max_in_flight was reached, mean over the pods."""
    limit_full_most: Share = 0
    """The same of the pod with the most: partitions and keys are not spread evenly."""
    limit_full_long: Share
    backpressure: Share
    """Share of the time in which partitions were paused for a limit, mean over the pods."""
    in_flight: Amount
    """Messages admitted and not finished, mean over the time."""
    in_flight_peak_long: Amount
    """The largest number in flight in one pod in the long window."""
    queued: Amount
    """Messages admitted and waiting for a worker, mean over the time."""
    busy: Amount
    """Workers inside handlers, mean over the time. In mode async each running coroutine is one."""
    busy_long: Amount
    cpu_cores: Amount
    """CPU cores used."""
    cpu_limit_cores: Amount
    """CPU cores that may be used."""
    poll_fill: Share
    """Messages that polls returned, of those asked for, mean over the pods."""
    pauses_per_second: Amount
    """Pauses for backpressure, of the pod with the most."""
    gaps: Amount
    """Unfinished ranges below the highest finished offset, now."""
    gaps_slope: Annotated[float, Field(allow_inf_nan=False)]
    """Growth of the gaps per second."""
    oldest_task_seconds: Amount
    """The longest running handler call, now."""
    memory_ratio: Amount
    """Memory over its limit in the fullest pod; 0 where no limit is set."""
    rebalances: Amount
    """Changes of assignment in the short window, of the pod with the most."""
    rebalances_long: Amount
    age_seconds: Amount
    """Age of the oldest sample that counts as current."""

    @property
    def lag_seconds(self) -> float | None:
        """Backlog over completion rate; 0 without backlog, None when there is one and nothing is finished."""
        if self.backlog < 1:
            return 0.0
        return self.backlog / self.rate if self.rate > 0 else None


class Circumstances(Seen):
    """What the operator knows by itself, without measuring."""

    mode: Mode
    """How the handler runs in fact; never `auto` once the runtime has chosen."""
    current: KnobValues
    """Values in force, those of the pods' settings file."""
    starts: KnobValues
    """Values that the resource states, from spec, profile or default."""
    ready_replicas: Annotated[int, Field(ge=0)]
    desired_replicas: Annotated[int, Field(ge=0)]
    applied: bool
    """Every ready pod has reported the generation of the settings last written."""
    rollout: bool = False
    """Pods are being replaced."""
    paused: bool = False
    suspended: bool = False
    out_of_memory_at: AwareDatetime | None = None
    """When a pod was last killed for want of memory."""
    task_timeout_ms: Annotated[int, Field(ge=0)] = 0
    """0 is no timeout."""
    command: str = ""
    """The annotation `parallelconsumer.dev/tuning`."""
    approve: str = ""
    """The annotation `parallelconsumer.dev/approve`."""


class Window(Seen):
    """Everything that one decision is taken from, beside policy, memory and time."""

    circumstances: Circumstances
    measured: Measurement | None
    missing: str = ""
    """Why nothing was measured; empty when something was."""
