"""One tuning cycle: observe, decide, record. The shell around `tuning.tuner.decide`; it decides nothing itself.

What it returns is carried out by `reconcile.py`: status first, then the settings, then the handshake with the pods.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from parallel_consumer_operator.errors import MetricsUnavailableError, OperatorError
from parallel_consumer_operator.port import Event, EventType, Key
from parallel_consumer_operator.prometheus import Access, Prometheus
from parallel_consumer_operator.resource.tuning import Knob, PrometheusSource, SecretReference, TuningMode
from parallel_consumer_operator.resource.tuning_status import TuningStatus
from parallel_consumer_operator.tune_seam import Lag, TuneOutcome, TuneSubject
from parallel_consumer_operator.tuning import journal
from parallel_consumer_operator.tuning.cycle import lag
from parallel_consumer_operator.tuning.decision import Decision, Gate, Hold, Quiet, Recommend, Rollback, Step
from parallel_consumer_operator.tuning.observation import Measurement, Window
from parallel_consumer_operator.tuning.policy import Policy, resolve
from parallel_consumer_operator.tuning.queries import Scope, measurement
from parallel_consumer_operator.tuning.tuner import decide

LOOKS_PER_WINDOW = 8
"""How often in a short window the tuner looks."""
SHORTEST_WAIT = 1.0
LONGEST_WAIT = 15.0
"""Seconds between two looks: a scrape interval as commonly set; more often shows nothing new."""

_LOG = structlog.get_logger(__name__)


class SecretReader(Protocol):
    """Gives the contents of one Secret of the resource's namespace."""

    async def __call__(self, key: Key, name: str) -> Mapping[str, str]:
        """Return the decoded data; raises OperatorError when it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class PrometheusTuner:
    """Tunes by what a Prometheus measured."""

    prometheus: Prometheus
    default_address: str = ""
    """The operator's Prometheus; empty: only resources that name their own are measured."""
    token_file: str = ""
    """With the bearer token for the operator's Prometheus, and for no other."""
    ca_file: str = ""
    """With the certificates to trust for it."""
    allowed: frozenset[str] = frozenset()
    """Addresses that a resource may name; empty: any."""
    secrets: SecretReader | None = None
    """Reads credentials of a resource's own Prometheus."""
    brake: bool = False
    """The operator-wide emergency brake."""
    namespaces: tuple[str, ...] = ()
    """Namespaces that the operator looks after, empty for all: one question to its own Prometheus covers them."""
    every_decision: bool = False
    """Log also what was said before: a journal without gaps."""

    async def __call__(self, subject: TuneSubject, *, now: datetime) -> TuneOutcome:
        """Return the outcome of one cycle; `now` is cut to whole seconds, as the status keeps it."""
        moment = now.replace(microsecond=0)
        policy = policy_of(subject, brake=self.brake)
        window = await self._look(subject, policy, moment)
        decision = decide(policy, window, subject.memory, moment)
        if self.every_decision or not _repeats(subject.memory, decision):
            _record(subject, policy, window, decision, moment)
        return outcome_of(subject, policy, window, decision)

    async def _look(self, subject: TuneSubject, policy: Policy, now: datetime) -> Window:
        if policy.spec.mode is TuningMode.OFF:
            return Window(circumstances=subject.circumstances, measured=None, missing="spec.tuning.mode is Off")
        try:
            measured = await self._measure(subject, policy, now)
        except OperatorError as error:
            return Window(circumstances=subject.circumstances, measured=None, missing=str(error)[:1_024])
        return Window(circumstances=subject.circumstances, measured=measured)

    async def _measure(self, subject: TuneSubject, policy: Policy, now: datetime) -> Measurement:
        behavior, shared = subject.spec.behavior, subject.spec.prometheus == PrometheusSource()
        namespaces = self.namespaces if shared else (subject.key.namespace,)
        scope = Scope(namespaces, behavior.window_seconds, behavior.long_window_seconds)
        access, fresh = await self._access(subject), fresh_seconds(policy, subject.memory, now)
        answers = await self.prometheus.ask(access, scope, fresh_seconds=fresh)
        answer = answers.get((subject.key.namespace, subject.key.name))
        return measurement(answer, pods=subject.pods, window=behavior.window_seconds)

    async def _access(self, subject: TuneSubject) -> Access:
        source = subject.spec.prometheus
        address = source.address or self.default_address
        if not address:
            raise MetricsUnavailableError("no Prometheus: set spec.tuning.prometheus.address, or the operator's own")
        self._require_allowed(source.address)
        if source == PrometheusSource():
            return Access(address, bearer_token=_contents(self.token_file).strip(), ca_pem=_contents(self.ca_file))
        return await self._own_access(subject.key, address, source)

    async def _own_access(self, key: Key, address: str, source: PrometheusSource) -> Access:
        token = await self._secret(key, source.bearer_token_secret_ref, "token")
        authority = await self._secret(key, source.ca_secret_ref, "ca.crt")
        basic = None
        if source.basic_auth_secret_ref is not None:
            user = await self._secret(key, source.basic_auth_secret_ref.model_copy(update={"key": "username"}), "")
            password = await self._secret(key, source.basic_auth_secret_ref.model_copy(update={"key": "password"}), "")
            basic = (user, password)
        foreign = source.address is not None
        return Access(address, bearer_token=token.strip(), basic_auth=basic, ca_pem=authority, foreign=foreign)

    def _require_allowed(self, address: str | None) -> None:
        """Whoever may create a resource makes the operator ask there: a base address, of the administrator's list."""
        if address is None:
            return
        if odd := set(address) & set("?#@"):
            raise MetricsUnavailableError(
                f"spec.tuning.prometheus.address {address} may not hold {' '.join(sorted(odd))}: give the base address"
            )
        if self.allowed and address.rstrip("/") not in {each.rstrip("/") for each in self.allowed}:
            raise MetricsUnavailableError(
                f"the operator does not allow spec.tuning.prometheus.address {address}: leave it out, or ask the"
                " operator's administrator (chart value prometheus.allowedAddresses)"
            )

    async def _secret(self, key: Key, reference: SecretReference | None, usual_key: str) -> str:
        if reference is None:
            return ""
        if self.secrets is None:
            raise MetricsUnavailableError(f"Secret {reference.name} cannot be read here")
        entries, entry = await self.secrets(key, reference.name), reference.key or usual_key
        if entry not in entries:
            raise MetricsUnavailableError(f"Secret {reference.name} has no key {entry!r}")
        return entries[entry]


def _contents(file: str) -> str:
    """Return a small local file's text, empty without a name: tokens are rotated, so it is read each time."""
    try:
        return Path(file).read_text() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise MetricsUnavailableError(f"{file} for the operator's Prometheus cannot be read: {error}") from error


def policy_of(subject: TuneSubject, *, brake: bool = False) -> Policy:
    """Return the complete policy of a resource."""
    starts = {knob: subject.circumstances.starts.of(knob) for knob in Knob}
    known = {knob: value for knob, value in starts.items() if value is not None}
    return resolve(subject.spec, starts=known, profile=subject.profile, brake=brake)


def wait_seconds(policy: Policy) -> float:
    """Return the time between two looks."""
    return max(SHORTEST_WAIT, min(LONGEST_WAIT, policy.spec.behavior.window_seconds / LOOKS_PER_WINDOW))


def fresh_seconds(policy: Policy, memory: TuningStatus, now: datetime) -> float:
    """Return how old an answer may be: one look, but not from before the window after the last change was full."""
    wait = wait_seconds(policy)
    if memory.stable_since is None:
        return wait
    full_for = (now - memory.stable_since - policy.window).total_seconds()
    return min(wait, max(SHORTEST_WAIT, full_for)) if full_for >= 0 else wait


def outcome_of(subject: TuneSubject, policy: Policy, window: Window, decision: Decision) -> TuneOutcome:
    """Return what the control loop has to do after a decision."""
    return TuneOutcome(
        status=decision.memory,
        requeue_after_seconds=wait_seconds(policy),
        measured=window.measured is not None,
        missing=window.missing,
        lag=lag_of(window.measured),
        events=events_of(subject.memory, decision),
        verdict=decision.judgement.verdict if decision.judgement is not None else None,
    )


def lag_of(measured: Measurement | None) -> Lag:
    """Return the lag for the status."""
    if measured is None:
        return Lag()
    seconds = None if measured.lag_seconds is None else round(min(lag(measured), 2.0**31))
    return Lag(messages=round(measured.backlog), seconds=seconds, rate_per_second=round(measured.rate))


def events_of(before: TuningStatus, decision: Decision) -> tuple[Event, ...]:
    """Return what people should read in `kubectl describe`: changes, verdicts and news, not every hold."""
    told: list[Event] = []
    if decision.judgement is not None and before.verifying is not None:
        step = before.verifying
        text = f"{step.knob} {step.from_value} -> {step.to_value}: {decision.judgement.message}"
        told.append(Event(EventType.NORMAL, f"TuningStep{decision.judgement.verdict}", text))
    match decision.action:
        case Step():
            told.append(Event(EventType.NORMAL, "TuningStep", decision.message))
        case Rollback():
            told.append(Event(EventType.WARNING, "TuningRollback", decision.message))
        case Recommend(recommendation=advice) if before.recommendation is None or before.recommendation.id != advice.id:
            told.append(Event(EventType.NORMAL, "TuningRecommendation", f"{advice.message} (id {advice.id})"))
        case Hold(reason=Quiet.COMMAND_DONE | Quiet.COMMAND_REFUSED):
            told.append(Event(EventType.NORMAL, f"Tuning{decision.reason}", decision.message))
        case Hold(reason=Gate.FROZEN | Gate.STUCK_OFFSET | Gate.METRICS_UNAVAILABLE) if (
            before.reason != decision.reason
        ):
            told.append(Event(EventType.WARNING, f"Tuning{decision.reason}", decision.message))
        case _:
            pass
    saturated = decision.memory.saturated
    if saturated is not None and (before.saturated is None or before.saturated.reason != saturated.reason):
        told.append(Event(EventType.WARNING, "TuningSaturated", saturated.message))
    return tuple(told)


def _record(subject: TuneSubject, policy: Policy, window: Window, decision: Decision, now: datetime) -> None:
    where = (subject.key.namespace, subject.key.name)
    line = journal.Entry.made(where, policy, window, subject.memory, now, decision)
    _LOG.info(journal.EVENT, **line.model_dump(mode="json", by_alias=True))


def _repeats(before: TuningStatus, decision: Decision) -> bool:
    """Whether this says nothing new: a hold for the same reason, or the same advice."""
    match decision.action:
        case Hold():
            return decision.reason == before.reason
        case Recommend(recommendation=advice):
            return before.recommendation is not None and before.recommendation.id == advice.id
        case _:
            return False
