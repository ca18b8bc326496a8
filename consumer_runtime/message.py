"""One message as a handler sees it, with the few references that the runtime needs to find its way back.

Built once per consumed message on the hot path, so it is a plain slotted class. Not here: decoding (`handler`), what
becomes of it (`settle`), how it travels to a worker process (`engines.process`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumer_runtime.ledger.offsets import PartitionOffsets

Header = tuple[str, bytes | None]


class FailureHistory:
    """When a message first and last failed, and with what; kept until it is finished."""

    __slots__ = ("error_class", "error_text", "first_at", "last_at")

    def __init__(self, *, first_at: float, last_at: float, error_class: str, error_text: str) -> None:
        self.first_at = first_at
        self.last_at = last_at
        self.error_class = error_class
        self.error_text = error_text


class Message:
    """A consumed message. Handlers read the first eight attributes; the others are the runtime's own.

    `timestamp` is in milliseconds since the epoch (-1: the broker gave none); `attempt` counts from 1.
    """

    __slots__ = (
        "assignment",
        "attempt",
        "fetched_at",
        "follower",
        "headers",
        "history",
        "key",
        "offset",
        "partition",
        "timestamp",
        "topic",
        "value",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        timestamp: int = -1,
        assignment: "PartitionOffsets | None" = None,
        fetched_at: float = 0.0,
        attempt: int = 1,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers
        self.timestamp = timestamp
        self.assignment = assignment
        """The ledger entry it belongs to; None outside the control process. `assignment.is_open` is the fence."""
        self.fetched_at = fetched_at
        """`time.monotonic()` of its poll."""
        self.attempt = attempt
        self.history: FailureHistory | None = None
        self.follower: Message | None = None
        """The next of its chain, while an engine has both (`Engine.follows`)."""

    @property
    def size_bytes(self) -> int:
        """Payload bytes: key and value."""
        return len(self.key or b"") + len(self.value or b"")

    def __repr__(self) -> str:
        where = f"{self.topic}[{self.partition}]@{self.offset}"
        return f"<Message {where} key={self.key!r} {len(self.value or b'')} B, attempt {self.attempt}>"
