"""What a spec comes to: tuner over spec over profile over built-in default, each value with its source. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from consumer_runtime.contract import profiles
from consumer_runtime.contract.knobs import Knobs, ProcessKnobs, camel_case, tunable_knobs
from consumer_runtime.contract.settings import ExecutionSettings, HandlerSettings, Mode, RetrySettings, RuntimeSettings
from parallel_consumer_operator.errors import InvalidResourceError
from parallel_consumer_operator.resource.spec import KafkaSpec, ParallelConsumerSpec
from parallel_consumer_operator.resource.status import EffectiveKnob, ValueSource

POOL_MODES = frozenset({Mode.THREAD, Mode.PROCESS, Mode.AUTO})


@dataclass(frozen=True, slots=True)
class Tuned:
    """A value of the tuner, and the starting value that it was decided upon."""

    value: int
    start: int


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings of every pod, generation aside, and where each value comes from."""

    settings: RuntimeSettings
    mode_source: ValueSource
    knobs: tuple[EffectiveKnob, ...]
    profile: profiles.ProfileValues

    @property
    def mode(self) -> Mode:
        """How the handler runs."""
        return self.settings.execution.mode

    @property
    def tuned(self) -> dict[str, Tuned]:
        """The tuner's values in force, by the knobs' names in the spec."""
        return {
            knob.name: Tuned(value=knob.value, start=knob.start)
            for knob in self.knobs
            if knob.source is ValueSource.TUNER
        }


def resolve(spec: ParallelConsumerSpec, *, tuned: Mapping[str, Tuned], cpu_limit: int | None) -> Effective:
    """Return what the spec comes to.

    `tuned` is keyed by the spec's knob names. A tuned value counts while spec, profile and defaults still say the
    value it started from; once a person changes that, the person wins.
    Raises InvalidResourceError when what results is not valid as a whole.
    """
    profile = profiles.values(spec.profile)
    mode, mode_source = _mode(spec, profile)
    knobs = tuple(_effective_knobs(spec, mode=mode, tuned=tuned, cpu_limit=cpu_limit))
    nested = tuple(_nested(spec, profile, mode=mode))
    execution = {
        "mode": mode,
        "ordering": spec.execution.ordering,
        "process": profile.process | _stated(spec.execution.process),
        **{runtime_name(knob.name): knob.value for knob in knobs},
    }
    sections = {
        "source": {"kafka": _kafka(spec.source.kafka)},
        "handler": _stated(spec.handler, only=_HANDLER_SETTINGS),
        "execution": execution,
        "retry": profile.retry | _stated(spec.retry),
        "dead_letter": _stated(spec.dead_letter),
        "circuit_breaker": None if spec.circuit_breaker is None else _stated(spec.circuit_breaker),
        "results": None if spec.results is None else _stated(spec.results),
        "log_level": spec.log_level,
    }
    return Effective(settings=_validated(sections), mode_source=mode_source, knobs=knobs + nested, profile=profile)


def runtime_name(name: str) -> str:
    """Return the runtime's name of a knob of the spec: `maxInFlight` -> `max_in_flight`; KeyError for no knob."""
    return _RUNTIME_NAMES[name]


_RUNTIME_NAMES = {camel_case(name): name for name in Knobs.model_fields}


def _mode(spec: ParallelConsumerSpec, profile: profiles.ProfileValues) -> tuple[Mode, ValueSource]:
    if spec.execution.mode is not None:
        return spec.execution.mode, ValueSource.SPEC
    if profile.mode is not None:
        return profile.mode, ValueSource.PROFILE
    return ExecutionSettings().mode, ValueSource.DEFAULT


def _effective_knobs(
    spec: ParallelConsumerSpec, *, mode: Mode, tuned: Mapping[str, Tuned], cpu_limit: int | None
) -> list[EffectiveKnob]:
    defaults = Knobs()
    filled = profiles.starting_knobs(spec.profile, cpu_limit=cpu_limit)
    # Processes compute: more of them than cores wait for each other. Threads wait for something else, and stay as many.
    workers = cpu_limit if cpu_limit is not None and mode is Mode.PROCESS else defaults.worker_pool_size
    knobs: list[EffectiveKnob] = []
    for name in Knobs.model_fields:
        if name == _POOL and mode not in POOL_MODES:
            continue
        stated = spec.execution.knobs().get(name)
        if stated is not None:
            start, source = stated, ValueSource.SPEC
        elif name in filled:
            start, source = filled[name], ValueSource.PROFILE
        else:
            start, source = int(workers if name == _POOL else getattr(defaults, name)), ValueSource.DEFAULT
        knobs.append(_with_tuning(camel_case(name), start=start, source=source, tuned=tuned))
    return knobs


_POOL = "worker_pool_size"
_NESTED = {"execution.process": ProcessKnobs(), "retry": RetrySettings()}


def _nested(spec: ParallelConsumerSpec, profile: profiles.ProfileValues, *, mode: Mode) -> Iterator[EffectiveKnob]:
    """Yield the other numbers that a profile may fill, by their place in the spec without `execution`."""
    stated = {"execution.process": _stated(spec.execution.process), "retry": _stated(spec.retry)}
    filled = {"execution.process": profile.process, "retry": profile.retry}
    for section, defaults in _NESTED.items():
        if section == "execution.process" and mode not in {Mode.PROCESS, Mode.AUTO}:
            continue
        for name in (name for name, value in defaults if isinstance(value, int)):
            if name in stated[section]:
                value, source = stated[section][name], ValueSource.SPEC
            elif name in filled[section]:
                value, source = filled[section][name], ValueSource.PROFILE
            else:
                value, source = getattr(defaults, name), ValueSource.DEFAULT
            place = f"{section.removeprefix('execution.')}.{camel_case(name)}"
            yield EffectiveKnob(name=place, value=value, source=source, start=value)


def _with_tuning(name: str, *, start: int, source: ValueSource, tuned: Mapping[str, Tuned]) -> EffectiveKnob:
    step = tuned.get(name) if runtime_name(name) in tunable_knobs() else None
    if step is not None and step.start == start and step.value != start:
        return EffectiveKnob(name=name, value=step.value, source=ValueSource.TUNER, start=start)
    return EffectiveKnob(name=name, value=start, source=source, start=start)


_HANDLER_SETTINGS = frozenset(HandlerSettings.model_fields)


def _stated(section: BaseModel | None, *, only: frozenset[str] | None = None) -> dict[str, Any]:
    """Return what a section of the spec states, by runtime names, nothing for what it leaves out."""
    include = None if only is None else set(only)
    return {} if section is None else section.model_dump(by_alias=False, exclude_none=True, include=include)


def _kafka(kafka: KafkaSpec) -> dict[str, Any]:
    """Return the Kafka section; what is in Secrets the runtime finds where they are mounted."""
    secret = {"credentials_secret_ref", "ca_secret_ref", "client_certificate_secret_ref"}
    return kafka.model_dump(by_alias=False, exclude_none=True, exclude=secret)


def _validated(sections: dict[str, Any]) -> RuntimeSettings:
    try:
        return RuntimeSettings.model_validate(sections)
    except ValidationError as error:
        raise invalid(error, prefix="spec") from error


def invalid(error: ValidationError, *, prefix: str) -> InvalidResourceError:
    """Return pydantic's first complaint as ours, with the field in the resource's spelling."""
    first = error.errors(include_url=False)[0]
    steps = [str(step) if isinstance(step, int) else camel_case(step) for step in first["loc"]]
    value = first["input"]
    unknown = first["type"] == "extra_forbidden"  # a definition of another version, or a loosened one, let it through
    return InvalidResourceError(
        field=".".join([prefix, *steps]),
        value=value if isinstance(value, str | int | float | bool) else type(value).__name__,
        remedy="there is no such field, take it out" if unknown else first["msg"].removeprefix("Value error, "),
    )
