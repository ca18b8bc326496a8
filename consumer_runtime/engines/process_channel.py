"""Frames of marshalled plain values over a socket pair: what the control process and a worker say to each other.

A frame is four bytes of length and one marshalled value; marshal of plain tuples is faster than pickle and carries
nothing of the user's. The parent's end never blocks, the worker's end may. Not here: what the values mean.
"""

import marshal
import socket
import struct
from collections import deque
from typing import Any

from consumer_runtime.errors import ConsumerError

FORMAT = 2
"""The marshal format without references between objects: 25 % faster to write for many small tuples."""
_LENGTH = struct.Struct("=I")
_READ_BYTES = 262_144
_READS_AT_ONCE = 16
_BUFFER_BYTES = 1_048_576
_PARTS_AT_ONCE = 64


class BrokenFrameError(ConsumerError):
    """What came over a channel is no frame of ours: somebody else wrote to it."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends that no child inherits unless told so; the kernel's bound on buffers holds."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return ends


def frame(value: Any) -> tuple[bytes, bytes]:
    """Return length and body of one value; raises ValueError for what marshal cannot write."""
    body = marshal.dumps(value, FORMAT)
    return _LENGTH.pack(len(body)), body


class Frames:
    """Puts frames together from what arrives in pieces. What a dead peer left unfinished is never returned."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[Any]:
        """Return the values that are complete now; raises BrokenFrameError."""
        buffer = self._buffer
        buffer += chunk
        values: list[Any] = []
        start, end = 0, len(buffer)
        while end - start >= _LENGTH.size:
            body = start + _LENGTH.size
            stop = body + _LENGTH.unpack_from(buffer, start)[0]
            if stop > end:
                break
            values.append(_value(bytes(memoryview(buffer)[body:stop])))
            start = stop
        del buffer[:start]
        return values


def _value(body: bytes) -> Any:
    try:
        return marshal.loads(body)  # noqa: S302 - the peer is a process of our own that runs the same user's code
    except (ValueError, EOFError, TypeError) as error:
        raise BrokenFrameError(f"{len(body)} bytes that are no frame: {error}") from error


class Channel:
    """The parent's end: sends as much as the kernel takes, keeps the rest, reads what is there."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._frames = Frames()
        self._unsent: deque[memoryview] = deque()
        self.is_broken = False
        """The peer is gone: nothing can be sent any more. What it sent before can still be received."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether something waits for the kernel to take it."""
        return bool(self._unsent)

    def send(self, value: Any) -> None:
        """Send one value, now or as soon as `flush` can; never blocks. The caller bounds what it sends meanwhile."""
        self._unsent.extend(memoryview(part) for part in frame(value))
        self.flush()

    def flush(self) -> None:
        """Send what is left of earlier values."""
        unsent = self._unsent
        while unsent and not self.is_broken:
            parts = [unsent[i] for i in range(min(len(unsent), _PARTS_AT_ONCE))]
            try:
                sent = self._socket.sendmsg(parts)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self.is_broken = True
                return
            _drop(unsent, sent)

    def receive(self) -> list[Any]:
        """Return the values that arrived, at most about 4 MB of them; raises BrokenFrameError."""
        values: list[Any] = []
        for _ in range(_READS_AT_ONCE):
            try:
                chunk = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except ConnectionResetError:
                chunk = b""
            values += self._frames.feed(chunk)
            if len(chunk) < _READ_BYTES:
                self.is_broken = self.is_broken or not chunk
                break
        return values

    def end(self) -> None:
        """Say that nothing more will be sent: the worker comes to its end after what it has."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # the peer is gone already
            self.is_broken = True

    def close(self) -> None:
        """Close the end, and drop what was not sent."""
        self._unsent.clear()
        self._socket.close()


def _drop(parts: deque[memoryview], sent: int) -> None:
    """Remove the first `sent` bytes."""
    while parts and sent >= len(parts[0]):
        sent -= len(parts.popleft())
    if sent:
        parts[0] = parts[0][sent:]
