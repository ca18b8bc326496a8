"""One pass over one resource: read -> desired -> apply -> handshake -> tune -> status. Level-based; errors stay here.

A pass starts from what exists and is right at any point of any earlier one that was cut off: a step of the tuner is in
the status before it is in the ConfigMap, and the ConfigMap's generation says which pods still lack it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator import diagnosis, report
from parallel_consumer_operator.carry_out import Written, carry_out
from parallel_consumer_operator.conditions import Facts
from parallel_consumer_operator.desired import objects as desired
from parallel_consumer_operator.desired import settings_file
from parallel_consumer_operator.desired.effective import Effective, Tuned, invalid, resolve
from parallel_consumer_operator.desired.overlay import cpu_limit
from parallel_consumer_operator.desired.owner import content_hash
from parallel_consumer_operator.desired.pods import referenced_config_maps, referenced_secrets
from parallel_consumer_operator.desired.restart import Build
from parallel_consumer_operator.desired.workload import workload_kind
from parallel_consumer_operator.diagnosis import PodView, Problem
from parallel_consumer_operator.errors import ClusterError, ConflictError, DeniedError, InvalidResourceError
from parallel_consumer_operator.evidence import from_events
from parallel_consumer_operator.exposition import OperatorMetrics
from parallel_consumer_operator.groups import Groups
from parallel_consumer_operator.handshake import Handshake, ask, hand_over, in_silence
from parallel_consumer_operator.port import Event, EventType, Key, Manifest, Port
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec
from parallel_consumer_operator.resource.status import ParallelConsumerStatus
from parallel_consumer_operator.settings import OperatorSettings
from parallel_consumer_operator.subject import Memory, Subject, said, subject_of
from parallel_consumer_operator.tune_seam import TuneOutcome, Tuner, TuneSubject
from parallel_consumer_operator.tuning.observation import Circumstances

LOOK_SECONDS = 30.0
"""Pods are asked this often when nothing wakes the loop: what they say of themselves is no Kubernetes event."""
UNSETTLED_SECONDS = 5.0
"""The same while something is wrong or not finished."""
REFUSED_SECONDS = 60.0
"""A resource that cannot be carried out is looked at again this late; a change of its spec wakes it at once."""
FIGURES_SECONDS = 60.0
"""Lag, messages in flight and folded counts are written at most this often."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the objects and the pods came to in one pass."""

    effective: Effective
    written: Written
    pods: tuple[PodView, ...]
    handshake: Handshake
    problems: tuple[Problem, ...]


class Reconciler:
    """Passes over resources, for one port; `clock` gives the time of day, for tests."""

    def __init__(
        self,
        port: Port,
        settings: OperatorSettings,
        *,
        tuner: Tuner | None,
        metrics: OperatorMetrics | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._port, self._settings, self._tuner, self._clock = port, settings, tuner, clock
        self._metrics = metrics or OperatorMetrics()
        self._memories: dict[str, Memory] = {}
        self._groups, self._meeting = Groups(), asyncio.Lock()
        self._met = False
        self.wake: Callable[[Key], None] = lambda _key: None
        """Lets another resource's loop look at once; set by who runs the loops."""

    async def step(self, key: Key) -> float | None:
        """Do one pass; return in how many seconds to come back without being woken, None for not at all.

        Raises ClusterError only when not even the status can be written.
        """
        manifest = await self._port.resource(key)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return None
        structlog.contextvars.bind_contextvars(generation=manifest["metadata"]["generation"])
        memory = self._memories.setdefault(manifest["metadata"]["uid"], Memory(figures_written_at=_monotonic()))
        before = memory.status or ParallelConsumerStatus.parse(manifest)
        try:
            spec = ParallelConsumerSpec.parse(manifest)
        except ValidationError as error:
            wrong = invalid(error, prefix="spec")
            return await self._refuse(manifest, before, memory, Problem("InvalidSpec", str(wrong)))
        subject = subject_of(manifest, spec, before)
        try:
            return await self._pass(subject, memory)
        except InvalidResourceError as error:
            return await self._refuse(manifest, before, memory, Problem("InvalidSpec", str(error)))
        except DeniedError as error:
            return await self._refuse(manifest, before, memory, Problem("Denied", f"The API server refuses: {error}"))
        except ConflictError:
            # Someone wrote the settings between our read and our write: read again, at once.
            return 0.0

    def forget(self, key: Key, uid: str) -> list[Key]:
        """Drop what is kept of a resource that is gone; return those that it stood in the way of."""
        self._memories.pop(uid, None)
        return self._groups.leave(key)

    async def _pass(self, subject: Subject, memory: Memory) -> float | None:
        await self._meet_all()
        for rival in self._groups.enter(subject.key, subject.manifest, subject.spec):
            self.wake(rival)
        conflict = await self._conflict(subject.key)
        if conflict is not None:
            return await self._stand_aside(subject, memory, conflict)
        outcome = await self._objects(subject, memory)
        tuned = await self._tune(subject, memory, outcome)
        if tuned is not None and not subject.paused and report.differs(tuned.status.knobs, outcome.effective):
            # The intent is in the status before anything is done: a pass that is cut off here is finished by the next.
            intent = report.with_intent(subject.before, outcome.effective, tuned.status)
            await self._write(subject.key, intent, memory)
            subject = replace(subject, before=intent)
            outcome = await self._objects(subject, memory)
        status = self._status(subject, memory, outcome, tuned)
        await self._tell(subject.manifest, status, memory)
        for event in (*(tuned.events if tuned else ()), *report.events(subject.before, status, outcome.written)):
            await self._post(subject.manifest, event)
        return self._next(subject, memory, outcome)

    async def _meet_all(self) -> None:
        """Enter every resource before the first pass: else a younger one would start where its elder comes later."""
        async with self._meeting:
            if self._met:
                return
            for manifest in await self._port.resources(self._settings.namespaces):
                metadata = manifest["metadata"]
                with contextlib.suppress(ValidationError):
                    spec = ParallelConsumerSpec.parse(manifest)
                    self._groups.enter(Key(metadata["namespace"], metadata["name"]), manifest, spec)
            self._met = True

    async def _conflict(self, key: Key) -> Problem | None:
        """Return the conflict with an elder; one that was deleted while the watch began, unseen, is dropped here."""
        while (elder := self._groups.elder(key)) is not None and await self._port.resource(elder) is None:
            self._groups.leave(elder)
        return self._groups.conflict(key)

    async def _stand_aside(self, subject: Subject, memory: Memory, conflict: Problem) -> float | None:
        """Leave the group to the elder: nothing is made, and what was made while there was room loses its pods."""
        live = await self._port.child(subject.key, workload_kind(subject.spec), subject.owner.name)
        ours = live is not None and desired.is_owned(live, subject.owner)
        if live is not None and ours and live["spec"].get("replicas") != 0 and not subject.paused:
            await self._objects(replace(subject, spec=subject.spec.model_copy(update={"suspend": True})), memory)
        pods = [diagnosis.view(pod) for pod in await self._port.pods(subject.key) if diagnosis.still_counts(pod)]
        ready = sum(pod.ready for pod in pods)
        before = report.standing_aside(subject.before, conflict, pods=len(pods), ready=ready, now=self._clock())
        return await self._refuse(subject.manifest, before, memory, conflict)

    async def _objects(self, subject: Subject, memory: Memory) -> Outcome:
        """Bring the objects to what is wanted, and the settings to the pods; when paused only look."""
        build = await self._build(subject)
        effective = resolve(
            subject.spec, tuned=await self._tuned(subject), cpu_limit=cpu_limit(subject.spec.pod_template)
        )
        if subject.paused:
            live = await self._port.child(subject.key, workload_kind(subject.spec), subject.owner.name)
            written = Written(generation=subject.before.effective.config_generation, workload=live)
        else:
            written = await carry_out(
                self._port, subject.key, subject.owner, subject.spec, effective, build,
                known_generation=subject.before.effective.config_generation, applied=memory.applied,
            )  # fmt: skip
        if written.settings_written:
            memory.settings_written_at, memory.apply_seconds = _monotonic(), None
        manifests = [pod for pod in await self._port.pods(subject.key) if diagnosis.still_counts(pod)]
        pods = tuple(map(diagnosis.view, manifests))
        handshake = await self._hand_over(subject, memory, pods, written)
        problems = (
            *written.problems,
            *_missing("Secret", build.secret_versions),
            *_missing("ConfigMap", build.config_map_versions),
            *diagnosis.of_workload(written.workload),
            *diagnosis.problems(manifests, handshake.states),
            *await from_events(self._port, subject.key, written.workload, manifests, now=self._clock()),
            *in_silence(handshake, gave_up=memory.gave_up_on == written.generation),
        )
        return Outcome(effective=effective, written=written, pods=pods, handshake=handshake, problems=problems)

    async def _build(self, subject: Subject) -> Build:
        """Return what the cluster adds to the spec: the image, and what the pods read besides our own settings."""
        secrets = await self._port.secret_versions(subject.key, referenced_secrets(subject.spec))
        maps = sorted(referenced_config_maps(subject.spec))
        found = await asyncio.gather(*(self._port.child(subject.key, desired.CONFIG_MAP, name) for name in maps))
        versions = {name: _contents(each) for name, each in zip(maps, found, strict=True)}
        return Build(
            runtime_image=self._settings.runtime_image, secret_versions=secrets, config_map_versions=versions,
            service_accounts=self._settings.allowed_service_accounts,
            csi_drivers=self._settings.allowed_csi_drivers,
        )  # fmt: skip

    async def _hand_over(
        self, subject: Subject, memory: Memory, pods: tuple[PodView, ...], written: Written
    ) -> Handshake:
        generation = written.generation
        if subject.paused or memory.gave_up_on == generation:
            answer = await ask(self._port, pods, generation)
        else:
            answer = await hand_over(self._port, subject.key, pods, generation)
            memory.gave_up_on = 0 if answer.complete else generation
        if answer.complete and memory.settings_written_at is not None:
            # Without a ready pod there was nobody to hand over to: pods that start later read the file at once.
            memory.apply_seconds = _monotonic() - memory.settings_written_at if answer.states else None
            memory.settings_written_at = None
            if memory.apply_seconds is not None:
                self._metrics.apply_seconds.observe(memory.apply_seconds)
        return answer

    async def _tuned(self, subject: Subject) -> dict[str, Tuned]:
        """Return the tuner's values: from the status, or from the ConfigMap when the status was lost."""
        before = subject.before
        if before.effective.config_generation == 0:
            live = await self._port.child(subject.key, desired.CONFIG_MAP, names.settings_name(subject.owner.name))
            return settings_file.tuned_in(live) if live is not None and desired.is_owned(live, subject.owner) else {}
        return report.intended(before)

    async def _tune(self, subject: Subject, memory: Memory, outcome: Outcome) -> TuneOutcome | None:
        """Let the tuner look when it is due, or when a person said something new."""
        words = said(subject)
        if self._tuner is None or (_monotonic() < memory.tune_at and words == memory.tuned_for):
            return None
        with self._metrics.tune_seconds.time():
            tuned = await self._tuner(
                TuneSubject(
                    key=subject.key,
                    spec=subject.spec.tuning,
                    circumstances=self._circumstances(subject, outcome),
                    profile=report.profile_bounds(outcome.effective),
                    memory=report.standing(subject.before.tuning, outcome.effective),
                    pods=frozenset(pod.name for pod in outcome.pods if pod.ready),
                ),
                now=self._clock(),
            )
        memory.tune_at, memory.tuned_for = _monotonic() + tuned.requeue_after_seconds, words
        memory.measured, memory.missing = tuned.measured, tuned.missing
        self._metrics.observe_decision(tuned.status.phase.value, tuned.status.reason, tuned.verdict)
        return tuned

    def _circumstances(self, subject: Subject, outcome: Outcome) -> Circumstances:
        annotations = subject.manifest["metadata"].get("annotations") or {}
        chosen = {state.mode for state in outcome.handshake.states.values()} - {Mode.AUTO}
        wanted = 0 if subject.spec.suspend else subject.spec.replicas
        oom = diagnosis.out_of_memory_at(pod.manifest for pod in outcome.pods)
        return Circumstances(
            mode=chosen.pop() if len(chosen) == 1 else outcome.effective.mode,
            current=report.knob_values(outcome.effective, starts=False),
            starts=report.knob_values(outcome.effective, starts=True),
            ready_replicas=sum(pod.ready for pod in outcome.pods),
            desired_replicas=wanted,
            applied=outcome.handshake.complete,
            rollout=_current(outcome) < wanted or len(outcome.pods) > wanted,
            paused=subject.paused,
            suspended=subject.spec.suspend,
            out_of_memory_at=datetime.fromisoformat(oom) if oom else None,
            task_timeout_ms=outcome.effective.settings.execution.task_timeout_ms,
            command=annotations.get(names.ANNOTATION_TUNING, ""),
            approve=annotations.get(names.ANNOTATION_APPROVE, ""),
        )

    def _status(
        self, subject: Subject, memory: Memory, outcome: Outcome, tuned: TuneOutcome | None
    ) -> ParallelConsumerStatus:
        states = outcome.handshake.states
        ready = [pod for pod in outcome.pods if pod.ready]
        wanted = 0 if subject.spec.suspend else subject.spec.replicas
        current = _current(outcome)
        memory.rollout_cause = outcome.written.rollout_cause or (memory.rollout_cause if current < wanted else ())
        facts = Facts(
            generation=subject.manifest["metadata"]["generation"],
            problems=outcome.problems,
            paused=subject.paused,
            suspended=subject.spec.suspend,
            wanted=wanted,
            ready=len(ready),
            current=current,
            applied=len(ready) - len(outcome.handshake.waiting),
            assigned=sum(state.assigned_partitions for state in states.values()),
            rollout_cause=memory.rollout_cause,
            tuning_mode=subject.spec.tuning.mode,
            tuning=tuned.status if tuned else report.standing(subject.before.tuning, outcome.effective),
            measured=memory.measured,
            missing=memory.missing,
        )
        figures = report.Figures(
            pods=len(outcome.pods),
            selector=",".join(f"{label}={value}" for label, value in sorted(subject.owner.selector.items())),
            config_generation=outcome.written.generation,
            apply_seconds=memory.apply_seconds,
            in_flight=sum(state.in_flight for state in states.values()) if states else None,
            mode_reason=next((state.mode_reason for state in states.values() if state.mode_reason), None),
            lag=tuned.lag if tuned else None,
        )
        return report.status(facts, figures, outcome.effective, subject.before, now=self._clock())

    async def _refuse(
        self, manifest: Manifest, before: ParallelConsumerStatus, memory: Memory, problem: Problem
    ) -> float | None:
        """Leave everything as it is and say why."""
        generation = manifest["metadata"]["generation"]
        status = report.refused(before, problem, generation=generation, now=self._clock())
        await self._tell(manifest, status, memory)
        for event in report.events(before, status, Written()):
            await self._post(manifest, event)
        _log.warning("left as it is", reason=problem.reason)
        return REFUSED_SECONDS

    async def _tell(self, manifest: Manifest, status: ParallelConsumerStatus, memory: Memory) -> None:
        """Write the status when it differs; figures that move all the time at most once a minute."""
        live = ParallelConsumerStatus.parse(manifest)
        if live == status:
            memory.status = status
            return
        figures_alone = report.without_figures(live) == report.without_figures(status)
        if figures_alone and _monotonic() - memory.figures_written_at < FIGURES_SECONDS:
            memory.status = status
            return
        await self._write(Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"]), status, memory)

    async def _write(self, key: Key, status: ParallelConsumerStatus, memory: Memory) -> None:
        await self._port.write_status(key, status.manifest())
        memory.status, memory.figures_written_at = status, _monotonic()

    async def _post(self, manifest: Manifest, event: Event) -> None:
        """Events are for people who happen to look: the log has them too; one that cannot be posted does no harm."""
        tell = _log.warning if event.type is EventType.WARNING else _log.info
        tell(event.message, reason=event.reason)
        try:
            await self._port.post_event(manifest, event)
        except ClusterError as error:
            _log.warning("event not posted", reason=event.reason, error=str(error))

    def _next(self, subject: Subject, memory: Memory, outcome: Outcome) -> float | None:
        if subject.paused:
            return None
        wanted = 0 if subject.spec.suspend else subject.spec.replicas
        settled = outcome.handshake.complete and _current(outcome) >= wanted and len(outcome.pods) == wanted
        if wanted == 0:
            return None if settled else UNSETTLED_SECONDS
        wait = LOOK_SECONDS if settled and not outcome.problems else UNSETTLED_SECONDS
        return min(wait, max(0.0, memory.tune_at - _monotonic())) if self._tuner else wait


def _current(outcome: Outcome) -> int:
    """Return how many ready pods come from the newest template."""
    workload = outcome.written.workload
    if workload is None:
        return 0
    annotations = workload["spec"]["template"]["metadata"].get("annotations") or {}
    newest = annotations.get(names.ANNOTATION_RESTART_HASH, "")
    return sum(pod.ready and pod.restart_hash == newest for pod in outcome.pods)


def _missing(kind: str, versions: Mapping[str, str | None]) -> list[Problem]:
    return [
        Problem(f"{kind}Missing", f"The {kind} {name} does not exist: create it, or correct the reference in the spec.")
        for name, version in versions.items()
        if version is None
    ]


def _contents(config_map: Manifest | None) -> str | None:
    return None if config_map is None else content_hash([config_map.get("data"), config_map.get("binaryData")])


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
