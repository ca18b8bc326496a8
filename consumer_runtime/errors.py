"""What the runtime raises, and what a handler may raise to steer it. One root: `ConsumerError`.

Not here: errors of pydantic, confluent_kafka or the operating system; adapters translate those and chain them.
"""

from typing import TYPE_CHECKING

from consumer_runtime.contract.choices import StartReason
from consumer_runtime.contract.root import ConsumerError as ConsumerError  # noqa: PLC0414 - re-exported

if TYPE_CHECKING:
    from consumer_runtime.contract.state import StartError


class StartFailure(ConsumerError):  # noqa: N818 - it is the failure; `error` is what it says
    """The runtime cannot start, or must give up; `error` is what the termination message will say."""

    def __init__(self, error: "StartError", *, detail: str = "") -> None:
        """Keep the error as a value; `detail` is for people only, such as the traceback of the user's own module."""
        super().__init__(f"{error.reason}: {error.field}={error.value!r}: {error.remedy}")
        self.error = error
        self.detail = detail

    @classmethod
    def because(
        cls, reason: StartReason, *, field: str, value: object, remedy: str, detail: str = ""
    ) -> "StartFailure":
        """Return a failure with its texts cut to what the contract allows."""
        from consumer_runtime.contract.state import StartError  # costs memory that worker processes save

        error = StartError(reason=reason, field=field[:256], value=str(value)[:1024], remedy=remedy[:2048])
        return cls(error, detail=detail)


class HandlerSignal(ConsumerError):  # noqa: N818 - a handler raises it to steer, nothing went wrong in us
    """Root of what a handler raises to say what should happen to its message."""


class RetryAfter(HandlerSignal):
    """Raise it in a handler: run this message again, but not before `seconds` from now. Counts as an attempt."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        """Take the wait in seconds, 0 or more; raises ValueError for what is none."""
        try:
            self.seconds = float(seconds)
        except (TypeError, ValueError):
            self.seconds = -1.0
        if not self.seconds >= 0:
            raise ValueError(f"RetryAfter(seconds={seconds!r}) must be a number of seconds, 0 or more")
        super().__init__(seconds, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"retry after {self.seconds:g} s" + (f": {self.reason}" if self.reason else "")


class Reject(HandlerSignal):
    """Raise it in a handler: never run this message again; it goes to the dead letter topic at once."""

    def __init__(self, reason: str = "rejected by the handler") -> None:
        """Take the reason that the dead letter's header will carry."""
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason
