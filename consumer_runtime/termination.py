"""How the program ends: its exit codes, the termination message for the operator, and one clear line for people."""

import os
import sys
from pathlib import Path

from consumer_runtime.contract import pod
from consumer_runtime.contract.state import StartReason
from consumer_runtime.errors import StartFailure

EXIT_CODES: dict[StartReason, int] = {
    StartReason.INVALID_SETTINGS: 10,
    StartReason.HANDLER_NOT_FOUND: 11,
    StartReason.HANDLER_FAILED_TO_IMPORT: 12,
    StartReason.HANDLER_UNSUITABLE: 13,
    StartReason.TOPIC_NOT_FOUND: 14,
    StartReason.DEAD_LETTER_TOPIC_NOT_FOUND: 15,
    StartReason.BROKER_UNREACHABLE: 16,
    StartReason.AUTHENTICATION_FAILED: 17,
    StartReason.AUTHORIZATION_FAILED: 18,
    StartReason.HANDLER_STUCK: 19,
    StartReason.KAFKA_FAILED: 20,
}
"""Besides: 0 stopped in good order, 1 a fault of the runtime's own (with its traceback), 2 a wrong command line,
21 offsets cannot be moved under active members (`commands`)."""


def report(failure: StartFailure) -> int:
    """Tell a failure to the operator and to people; return the exit code."""
    leave_message(failure)
    error = failure.error
    if failure.detail:
        sys.stderr.write(failure.detail.rstrip() + "\n")
    sys.stderr.write(f"{error.reason}: {error.field} is {error.value!r}: {error.remedy}\n")
    sys.stderr.flush()
    return EXIT_CODES[error.reason]


def leave_message(failure: StartFailure) -> None:
    """Write the StartError as one JSON object where the kubelet reads it; outside a pod there is no such file."""
    path = Path(os.environ.get(pod.TERMINATION_MESSAGE_FILE_VARIABLE, pod.TERMINATION_MESSAGE_FILE))
    if not path.parent.is_dir() or (str(path) == pod.TERMINATION_MESSAGE_FILE and not path.exists()):
        return
    try:
        path.write_text(failure.error.model_dump_json(), encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"the termination message could not be written to {path}: {error.strerror}\n")
