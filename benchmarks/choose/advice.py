"""Which mode, which knobs and which bounds follow from the trials, and why. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.choose.trials import POLL_BATCH_SIZE, POOLED, Tried
from benchmarks.scenarios.errors import WorkbenchError
from consumer_runtime.contract.settings import Mode

LEVEL = 0.9
"""Rates within a tenth of the best count as equal: then the simpler mode and the smaller number win."""
GIL_BOUND_CORES = 0.75
"""From this much CPU on a mode of one interpreter is ended by its lock, and not by what it waits for."""
COMPUTES = 0.3
"""From this share of its workers' time in CPU on a mode computes, on a machine that others use too."""
PROMISED = 0.8
"""What processes are believed of their rate per second of CPU, times the cores."""
_SIMPLEST_FIRST = (Mode.SINGLE, Mode.ASYNC, Mode.THREAD, Mode.PROCESS)
_WIDTH = 4
_MAX_IN_FLIGHT, _MAX_WORKERS = 100_000, 512
_TIMEOUT_MS = (1_000, 200_000)
"""Of taskTimeoutMs. The upper one stays below 0.8 times max.poll.interval.ms, which mode single requires."""


class NoModeError(WorkbenchError):
    """The handler did no message in any mode."""


@dataclass(frozen=True)
class Advice:
    """A mode with its knobs, the tuner's bounds for them, and a reason for each choice."""

    chosen: Tried
    knobs: dict[str, int]
    """Names as in the resource."""
    bounds: dict[str, tuple[int, int]]
    reasons: list[str]

    @property
    def mode(self) -> Mode:
        """Return the mode."""
        return self.chosen.trial.mode


def advise(found: Sequence[Tried], *, cores: int, load: float) -> Advice:
    """Return the advice; `load` is the machine's load average, of which a busy one is warned. Raises NoModeError."""
    good = [each for each in found if each.succeeded and not each.reason_not]
    if not good:
        why = next((each.reason_not for each in found if each.reason_not), "every attempt failed")
        raise NoModeError(f"the handler did no message in any mode: {why}")
    mode, why = _mode(good, cores=cores)
    chosen = _step(good, mode, cores=cores)
    knobs = _knobs(chosen)
    reasons = [_alone(good), why, *_about(good, found, chosen)]
    if load > 1.5 * cores:
        reasons.append(f"The load average was {load:.1f} on {cores} cores: measure again when the machine is quieter.")
    return Advice(chosen, knobs, _bounds(chosen, knobs), reasons)


def _mode(good: Sequence[Tried], *, cores: int) -> tuple[Mode, str]:
    """Return the mode and why: the simplest of the fastest, unless the interpreter's lock is what ends it."""
    best = max(each.rate for each in good)
    told = ", ".join(f"{mode} {_best(good, mode):,.0f}/s" for mode in _SIMPLEST_FIRST if _best(good, mode))
    mode = next(mode for mode in _SIMPLEST_FIRST if _best(good, mode) >= LEVEL * best)
    here = smallest(good, mode)
    there = [each for each in good if each.trial.mode is Mode.PROCESS]
    if mode is not Mode.PROCESS and there and cores > 1 and here.cpu_share >= GIL_BOUND_CORES:
        each_second = max(each.rate / max(each.cpu_share, 1e-3) for each in there)
        promised = each_second * cores * PROMISED
        if promised > here.rate:
            return Mode.PROCESS, (
                f"mode process: {mode} used {here.cpu_share:.2f} cores, where the interpreter's lock ends it; "
                f"processes did {each_second:,.0f} messages in a second of CPU, and there are {cores} cores ({told})."
            )
    what = "the fastest" if _best(good, mode) == best else "within a tenth of the fastest, and simpler"
    return mode, f"mode {mode}: {what} ({told})."


def _best(good: Sequence[Tried], mode: Mode) -> float:
    return max((each.rate for each in good if each.trial.mode is mode), default=0.0)


def smallest(good: Sequence[Tried], mode: Mode) -> Tried:
    """Return the mode's smallest concurrency that is level with its best."""
    of_mode = sorted((each for each in good if each.trial.mode is mode), key=lambda each: each.trial.at_once)
    return next(each for each in of_mode if each.rate >= LEVEL * _best(good, mode))


def _step(good: Sequence[Tried], mode: Mode, *, cores: int) -> Tried:
    """Return the mode's setting; a process for each core where messages compute, as the runbook has it."""
    chosen = smallest(good, mode)
    each_core = next((each for each in good if (each.trial.mode, each.trial.at_once) == (mode, cores)), None)
    computes = chosen.cpu_share >= COMPUTES * min(chosen.trial.at_once, cores)
    return each_core if mode is Mode.PROCESS and each_core and computes else chosen


def _knobs(chosen: Tried) -> dict[str, int]:
    low, high = _TIMEOUT_MS
    timeout = min(max(int(10 * chosen.handler_ms_p99), low), high)
    knobs = {"maxInFlight": int(str(chosen.trial.execution["max_in_flight"])), "pollBatchSize": POLL_BATCH_SIZE,
             "taskTimeoutMs": -(-timeout // 1_000) * 1_000}  # fmt: skip
    if chosen.trial.mode in POOLED:
        knobs["workerPoolSize"] = chosen.trial.at_once
    return knobs


def _bounds(chosen: Tried, knobs: dict[str, int]) -> dict[str, tuple[int, int]]:
    """A quarter to four times of what was found; processes up to twice, since more of them only wait for cores."""
    poll = {"pollBatchSize": (POLL_BATCH_SIZE // _WIDTH, 2 * POLL_BATCH_SIZE)}
    if chosen.trial.mode is Mode.SINGLE:
        return poll
    in_flight = knobs["maxInFlight"]
    found = poll | {"maxInFlight": (max(in_flight // _WIDTH, 1), min(in_flight * _WIDTH, _MAX_IN_FLIGHT))}
    if "workerPoolSize" in knobs:
        workers = knobs["workerPoolSize"]
        wider = 2 if chosen.trial.mode is Mode.PROCESS else _WIDTH
        found["workerPoolSize"] = (max(workers // _WIDTH, 1), min(workers * wider, _MAX_WORKERS))
    return found


def _alone(good: Sequence[Tried]) -> str:
    alone = next((each for each in good if each.trial.at_once == 1), good[0])
    wall, cpu = 1e3 / alone.rate, 1e3 * alone.cpu_share / alone.rate
    at_once = "One message" if alone.trial.at_once == 1 else f"A message of {alone.trial.at_once}"
    return f"{at_once} at a time takes {wall:.3g} ms ({alone.trial.mode}), {cpu:.3g} ms of it CPU, ours included."


def _about(good: Sequence[Tried], found: Sequence[Tried], chosen: Tried) -> list[str]:
    reasons = []
    if chosen.trial.mode is not Mode.SINGLE:
        steps = ", ".join(
            f"{each.trial.at_once}: {each.rate:,.0f}/s" for each in good if each.trial.mode is chosen.trial.mode
        )
        is_smallest = chosen is smallest(good, chosen.trial.mode)
        why = "the smallest within a tenth of that mode's best" if is_smallest else "a process for each core"
        highest = max(each.trial.at_once for each in good if each.trial.mode is chosen.trial.mode)
        open_end = " It is the highest tried: more may be faster still." if chosen.trial.at_once == highest > 1 else ""
        reasons.append(f"{chosen.trial.at_once} at once: {why} ({steps}).{open_end}")
    p99 = chosen.handler_ms_p99
    reasons.append(f"taskTimeoutMs: ten times the handler's p99 of {p99:.3g} ms, at least 1 s.")
    reasons.append(f"Memory at that setting: {chosen.rss_mb:.0f} MB; CPU: {chosen.cpu_share:.2f} cores.")
    impossible = {each.trial.mode: each.reason_not for each in found if each.reason_not}
    reasons += [f"mode {mode} is not possible: {why}" for mode, why in impossible.items()]
    failed = sum(each.failed for each in good)
    if failed:
        every = failed + sum(each.succeeded for each in good)
        reasons.append(f"{failed:,} of {every:,} attempts failed; rates count what succeeded.")
    return reasons
