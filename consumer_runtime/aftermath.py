"""After a crash: the first messages run one at a time, so that many large ones do not end the process together again.

A mark in the pod's scratch folder, which outlives a container, says that a consumer runs there; one that ends by any
way but a kill (out of memory, SIGKILL, a segmentation fault) takes it away. Whoever finds it follows a crash. It runs
one message at a time until as many are finished as could have run in the crash, and writes down which one runs: should
the process end once more, that message is named. Not here: what ran again (offsets decide), worker processes' deaths
(`engines.process_lane`), which are no crash of the pod.
"""

import json
import os
from pathlib import Path
from typing import Any, Self

import structlog

from consumer_runtime.contract import pod
from consumer_runtime.message import Message

_AT_MOST = 4_096
_log = structlog.get_logger(__name__)


class Aftermath:
    """How carefully to begin; nothing is careful without a crash before. Belongs to the control thread."""

    def __init__(self, mark: Path | None = None) -> None:
        """Take where the mark is; None for a consumer that leaves none."""
        self._mark = mark
        self.left = 0
        """Messages that are still to run one at a time."""

    @classmethod
    def of_environment(cls) -> Self:
        """Return that of a pod of the operator's, or of $CONSUMER_STATE_DIR; outside of both there is no mark."""
        in_pod = pod.STATE_DIRECTORY if Path(pod.SETTINGS_DIRECTORY).is_dir() else None
        folder = os.environ.get(pod.STATE_DIRECTORY_VARIABLE) or in_pod
        name = os.environ.get(pod.POD_NAME_VARIABLE) or "consumer"
        return cls(Path(folder) / f"running-{name}" if folder else None)

    def begin(self, max_in_flight: int) -> None:
        """Look for a mark, and leave one. A folder that cannot be written is told, and harms nothing else."""
        if self._mark is None:
            return
        found = _read(self._mark)
        if found is not None:
            self.left = int(found.get("in_flight", max_in_flight))
            _log.error(
                "the process before this one was killed: the first messages run one at a time", messages=self.left,
                ran_alone=found.get("alone"), remedy="see the container's last state; if it is OOMKilled, raise the "
                "memory limit or lower maxInFlight",
            )  # fmt: skip
        self._write({"in_flight": max_in_flight})

    def limit(self, max_in_flight: int) -> int:
        """Return how many messages may run at once."""
        return 1 if self.left else max_in_flight

    def runs(self, messages: list[Message], max_in_flight: int) -> None:
        """Write down what runs alone."""
        if self.left and messages:
            places = [f"{each.topic}[{each.partition}]@{each.offset}" for each in messages[:1]]
            self._write({"in_flight": max_in_flight, "alone": places[0]})

    def finished(self, messages: int, max_in_flight: int) -> None:
        """Count down; at the end the mark speaks of no message any more."""
        if self.left:
            self.left = max(self.left - messages, 0)
            if not self.left:
                self._write({"in_flight": max_in_flight})
                _log.info("as many as ran in the crash are finished: max_in_flight is in force again")

    def end(self) -> None:
        """Take the mark away: this was no crash."""
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)

    def _write(self, said: dict[str, Any]) -> None:
        if self._mark is None:
            return
        try:
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            self._mark.write_text(json.dumps(said), encoding="utf-8")
        except OSError as error:
            _log.warning("no mark can be left, so that a crash will not be noticed", error=str(error))
            self._mark = None


def _read(mark: Path) -> dict[str, Any] | None:
    """Return what a mark says; an empty one, cut off while it was written, is a mark too."""
    try:
        text = mark.read_text(encoding="utf-8")[:_AT_MOST]
    except (OSError, UnicodeDecodeError):
        return None
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("in_flight", 0), int) else {}
