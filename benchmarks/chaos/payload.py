"""What a message of the load looks like: made by the producer, read back by the handler and by the verdict's reader."""

import struct
import zlib
from typing import NamedTuple

SEQUENCE_HEADER = "chaos-sequence"
POISON_HEADER = "chaos-poison"
LARGE_VALUE_BYTES = 1_000_000
"""Just under the broker's own default limit of 1,048,588 for a record batch: a dead letter adds headers to it."""
_HEAD = struct.Struct(">I")
_FILLER = b"." * 96

Headers = list[tuple[str, str | bytes | None]]


class Content(NamedTuple):
    """What identifies a message beside its place."""

    key: int
    """CRC-32 of the key's bytes; 0 for a null key."""
    sequence: int
    poison: bool
    """Marked as poison by the producer; `draws.is_poison` draws others."""
    value_bytes: int | None = None
    """Length of the value; None for a null value."""


def encode(
    sequence: int, *, large: bool = False, null: bool = False, poison: bool = False
) -> tuple[bytes | None, Headers]:
    """Return (value, headers): the sequence stands in the value, or in a header when the value is null."""
    headers: Headers = [(POISON_HEADER, b"1")] if poison else []
    if null:
        return None, [*headers, (SEQUENCE_HEADER, str(sequence).encode())]
    filler = b"." * (LARGE_VALUE_BYTES - _HEAD.size) if large else _FILLER
    return _HEAD.pack(sequence) + filler, headers


def decode(key: bytes | None, value: bytes | None, headers: Headers | None) -> Content:
    """Return what `encode` put in; raises KeyError or struct.error for a message that is not ours."""
    named = dict(headers) if headers else {}
    sequence = int(named[SEQUENCE_HEADER] or 0) if value is None else _HEAD.unpack_from(value)[0]
    length = None if value is None else len(value)
    return Content(key=key_hash(key), sequence=sequence, poison=POISON_HEADER in named, value_bytes=length)


def key_hash(key: bytes | None) -> int:
    """Return the key's CRC-32, 0 for a null key."""
    return 0 if key is None else zlib.crc32(key)
