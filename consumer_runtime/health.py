"""What the probes are told, judged from the runtime's own state: pure functions and the table of pages.

Live: the control thread turns. Ready: it runs and nothing keeps it from its work; a pod without partitions, because
there are more pods than partitions, is ready. Not here: the server (`http_server`), the numbers (`statistics`).
"""

import time
from collections.abc import Callable
from http import HTTPStatus

from consumer_runtime import exposition
from consumer_runtime.contract.settings import Mode
from consumer_runtime.contract.state import Phase, RuntimeState
from consumer_runtime.http_server import Response, Routes
from consumer_runtime.statistics import Snapshot

STALE_SECONDS = 30.0
"""How old the control thread's heartbeat may be, with the handler elsewhere; it beats about every millisecond."""
_SINGLE_WITHOUT_TIMEOUT_SECONDS = 300.0
"""In mode single the handler runs between two heartbeats; without a time limit Kafka's max.poll.interval.ms decides."""
_JSON = "application/json"


def dead_because(*, state: RuntimeState, heartbeat_at: float, now: float) -> str | None:
    """Return why the process should be restarted, or None. Both times are `time.monotonic()` seconds."""
    if state.phase is not Phase.RUNNING or heartbeat_at == 0:
        return None
    age, allowed = now - heartbeat_at, _allowed_silence(state)
    return f"the control thread has not turned for {age:.0f} s, allowed are {allowed:.0f} s" if age > allowed else None


def unready_because(state: RuntimeState) -> str | None:
    """Return why no work is being done, or None."""
    if state.problem is not None:
        return f"{state.problem.reason}: {state.problem.remedy}"
    return None if state.phase is Phase.RUNNING else f"the runtime is {state.phase}"


def unstarted_because(state: RuntimeState) -> str | None:
    """Return why the runtime has not started yet, or None; it never goes back to that."""
    return "the runtime is starting" if state.phase is Phase.STARTING else None


def routes(*, state: Callable[[], RuntimeState], snapshot: Callable[[], Snapshot]) -> Routes:
    """Return every page of a runtime."""

    def dead() -> str | None:
        return dead_because(state=state(), heartbeat_at=snapshot().heartbeat_at, now=time.monotonic())

    return {
        "/metrics": lambda: Response(exposition.page(snapshot), content_type=exposition.CONTENT_TYPE),
        "/healthz": lambda: _verdict(dead()),
        "/readyz": lambda: _verdict(unready_because(state())),
        "/startupz": lambda: _verdict(unstarted_because(state())),
        "/state": lambda: Response(state().model_dump_json().encode(), content_type=_JSON),
    }


def _allowed_silence(state: RuntimeState) -> float:
    if state.mode is not Mode.SINGLE:
        return STALE_SECONDS
    timeout_seconds = state.knobs.get("task_timeout_ms", 0) / 1_000
    return STALE_SECONDS + (timeout_seconds or _SINGLE_WITHOUT_TIMEOUT_SECONDS)


def _verdict(problem: str | None) -> Response:
    if problem is None:
        return Response(b"ok\n")
    return Response(problem.encode() + b"\n", HTTPStatus.SERVICE_UNAVAILABLE)
