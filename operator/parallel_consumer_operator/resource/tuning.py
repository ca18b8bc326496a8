"""`spec.tuning` of the ParallelConsumer: what the tuner may do, when, and towards which objective.

What the tuner remembers is `tuning_status.py`; how it decides is the package `tuning`.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator, model_validator

from consumer_runtime.contract.knobs import bounds
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.model import Model

# Any fixed moment serves to see whether a schedule parses.
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


class TuningMode(StrEnum):
    """How far the tuner goes on its own."""

    OFF = "Off"
    """Measures and changes nothing."""
    RECOMMEND = "Recommend"
    """Writes what it would do to the status, and nothing else."""
    APPROVE = "Approve"
    """As Recommend; applies a recommendation when the annotation `parallelconsumer.dev/approve` carries its id."""
    AUTO = "Auto"
    """Applies, verifies, and takes back what did not help."""


class Knob(StrEnum):
    """The knobs that the tuner may change, by their names in the resource, cheapest first to change."""

    MAX_IN_FLIGHT = "maxInFlight"
    POLL_BATCH_SIZE = "pollBatchSize"
    WORKER_POOL_SIZE = "workerPoolSize"

    @property
    def runtime_name(self) -> str:
        """The runtime's name: `maxInFlight` -> `max_in_flight`."""
        return self.name.lower()


class SecretReference(Model):
    """A Secret of the resource's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=names.OBJECT_NAME)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Key within it; by default `token` for a bearer token and `ca.crt` for a CA. Basic auth reads `username` and
    `password`, and takes no key."""


class PrometheusSource(Model):
    """Where the measurements are; without it the operator's own Prometheus."""

    address: Annotated[str, Field(max_length=2_048, pattern=r"^https?://[^\s]+$")] | None = None
    """Base address of Prometheus, Thanos Query or VictoriaMetrics, such as `http://prometheus.monitoring:9090`."""
    bearer_token_secret_ref: SecretReference | None = None
    """Secret with a bearer token."""
    basic_auth_secret_ref: SecretReference | None = None
    """Secret with `username` and `password`."""
    ca_secret_ref: SecretReference | None = None
    """Secret with the PEM certificates to trust."""

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if self.bearer_token_secret_ref and self.basic_auth_secret_ref:
            raise ValueError("set bearerTokenSecretRef or basicAuthSecretRef, not both")
        return self


class Objective(Model):
    """What good looks like."""

    target_lag_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Backlog over completion rate that is still fine, in seconds."""
    catch_up_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    """In how many seconds a backlog beyond the target shall be worked off."""
    max_latency_ms_p99: Annotated[int, Field(ge=1, le=3_600_000)] | None = None
    """99th percentile of the handler's own time, in milliseconds, that must not be exceeded; none by default."""


class KnobTuning(Model):
    """What the tuner may do with one knob."""

    mode: TuningMode | None = None
    """Overrides `tuning.mode` for this knob; `tuning.mode: Off` stops all."""
    min: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Lowest value; by default the profile's, else the knob's own."""
    max: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Highest value; by default the profile's, else 16 times the starting value."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} must be at most max {self.max}")
        return self


class TunedKnobs(Model):
    """The knobs by name."""

    max_in_flight: KnobTuning = KnobTuning()
    """Messages admitted and not finished, per pod."""
    poll_batch_size: KnobTuning = KnobTuning()
    """Messages taken by one poll."""
    worker_pool_size: KnobTuning = KnobTuning()
    """Threads or processes, modes thread and process only."""

    @model_validator(mode="after")
    def _inside_the_knobs_own_bounds(self) -> Self:
        for knob in Knob:
            lowest, highest = bounds(knob.runtime_name)
            for limit in (self.of(knob).min, self.of(knob).max):
                if limit is not None and not lowest <= limit <= highest:
                    raise ValueError(f"{knob.value}: {limit} is outside {lowest}..{highest}")
        return self

    def of(self, knob: Knob) -> KnobTuning:
        """Return one knob's section."""
        section: KnobTuning = getattr(self, knob.runtime_name)
        return section


class ScaleUp(Model):
    """How raises are paced."""

    cooldown_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """Seconds after any change before a raise."""


class ScaleDown(Model):
    """How lowering is paced."""

    cooldown_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    """Seconds after any change before lowering; lowering under memory pressure does not wait."""


class Behavior(Model):
    """How the tuner looks and how often it acts."""

    window_seconds: Annotated[int, Field(ge=5, le=3_600)] = 120
    """The short window: what is measured over it is called now. At least four scrape intervals."""
    long_window_seconds: Annotated[int, Field(ge=10, le=86_400)] = 600
    """The long window: what is measured over it is called usual."""
    tolerance_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """Changes smaller than this share of a knob are not made."""
    max_changes_per_hour: Annotated[int, Field(ge=0, le=60)] = 20
    """Steps in any hour at most; taking a step back is not counted."""
    scale_up: ScaleUp = ScaleUp()
    """How raises are paced."""
    scale_down: ScaleDown = ScaleDown()
    """How lowering is paced."""

    @model_validator(mode="after")
    def _long_is_longer(self) -> Self:
        if self.long_window_seconds <= self.window_seconds:
            raise ValueError(
                f"longWindowSeconds {self.long_window_seconds} must be more than windowSeconds {self.window_seconds}"
            )
        return self


class Verification(Model):
    """How a step is judged."""

    min_gain_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """A raise that completes less than this much more did not pay."""
    rollback: bool = True
    """Take back what did not pay."""
    block_seconds: Annotated[int, Field(ge=0, le=604_800)] = 3_600
    """How long a direction of a knob that did not pay is not tried again."""


class ExcludedPeriod(Model):
    """A recurring time in which nothing is changed."""

    schedule: Annotated[str, Field(min_length=9, max_length=128)]
    """When it begins: five cron fields, such as `0 8 * * MON-FRI`."""
    duration_seconds: Annotated[int, Field(ge=60, le=604_800)]
    """How long it lasts."""
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """IANA name, such as `Europe/Berlin`."""

    @field_validator("schedule")
    @classmethod
    def _schedule_parses(cls, schedule: str) -> str:
        try:
            CronSim(schedule, _SOME_DAY)
        except CronSimError as error:
            raise ValueError(f"{schedule!r} is not a cron schedule of five fields: {error}") from error
        return schedule

    @field_validator("time_zone")
    @classmethod
    def _time_zone_exists(cls, time_zone: str) -> str:
        try:
            ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{time_zone!r} is no IANA time zone, such as Europe/Berlin") from error
        return time_zone


class Freeze(Model):
    """When not to raise, and when to change nothing."""

    max_error_percent: Annotated[int, Field(ge=0, le=100)] = 1
    """Failed attempts, failed dead letters or failed commits beyond this share forbid raises."""
    excluded_periods: Annotated[tuple[ExcludedPeriod, ...], Field(max_length=16)] = ()
    """Recurring times in which nothing is changed."""


class TuningSpec(Model):
    """`spec.tuning`."""

    mode: TuningMode = TuningMode.RECOMMEND
    """How far the tuner goes on its own."""
    prometheus: PrometheusSource = PrometheusSource()
    """Where the measurements are."""
    objective: Objective = Objective()
    """What good looks like."""
    knobs: TunedKnobs = TunedKnobs()
    """What may be changed, and how far."""
    behavior: Behavior = Behavior()
    """How the tuner looks and how often it acts."""
    verify: Verification = Verification()
    """How a step is judged."""
    freeze: Freeze = Freeze()
    """When not to raise, and when to change nothing."""
