"""The offset map as text for the commit's metadata: which offsets beyond the watermark are finished already.

Pure, versioned, and checked: whatever cannot be read for certain is refused, and then more messages run again. The map
says nothing about offsets beyond its end; cutting it is always correct.

    text     = version "1", method, Base85 of body
    body     = CRC32 (of method, watermark and payload; 4 bytes, big endian), payload
    payload  = by method: "r" run lengths, "b" bitset, "R" and "B" the same through zlib
    "r"      = unsigned LEB128 lengths: unfinished, finished, unfinished, finished, ...
    "b"      = a big-endian number whose bits are the offsets, the first one lowest
"""

import base64
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from consumer_runtime.ledger.offsets import SPAN_AT_MOST, Progress

TEXT_CHARACTERS_AT_MOST = 4_000
"""The broker's `offset.metadata.max.bytes` is 4096 by default: 4095 characters were accepted, 4096 fail the commit."""
NARROW_ABOVE_PERCENT = 75
"""Above this share of the room a partition takes no new work until the map has shrunk."""
_VERSION = "1"
_CRC_BYTES = 4
_COMPRESS_FROM_BYTES = 64


class UnreadableMapError(ValueError):
    """The metadata is no map of ours, or of another version, or damaged. Nothing is lost: more runs again."""


class Encoded(NamedTuple):
    """A map as text; `is_cut` when what was finished beyond its end did not fit."""

    text: str
    is_cut: bool


def encode(progress: Progress, *, characters_at_most: int = TEXT_CHARACTERS_AT_MOST) -> Encoded:
    """Return the shortest text for what is finished beyond the watermark; empty when nothing is.

    A map that does not fit is cut to about the longest one that does.
    """
    finished = progress.finished
    text = _encode_whole(progress.watermark, finished) if finished else ""
    if len(text) <= characters_at_most:
        return Encoded(text, is_cut=False)
    return Encoded(_encode_longest(progress, characters_at_most), is_cut=True)


def decode(text: str, watermark: int) -> bytes:
    """Return `Progress.finished` from the metadata that was committed with `watermark`; empty text is an empty map.

    Raises UnreadableMapError.
    """
    if not text:
        return b""
    if len(text) < len("1r") or text[0] != _VERSION or text[1] not in _DECODERS:
        raise UnreadableMapError(f"no offset map of version {_VERSION}: {text[:16]!r}")
    method = text[1]
    payload = _checked(method, watermark, text[2:])
    finished = _DECODERS[method](payload)
    if len(finished) > SPAN_AT_MOST:
        raise UnreadableMapError(f"the offset map spans {len(finished)} offsets, more than {SPAN_AT_MOST}")
    return finished


def _encode_longest(progress: Progress, characters_at_most: int) -> str:
    """Search the longest part of the map that fits: twelve halvings leave less than a thousandth unused."""
    fits, too_long, best = 0, len(progress.finished), ""
    for _ in range(12):
        middle = (fits + too_long) // 2
        text = _encode_whole(progress.watermark, progress.finished[:middle].rstrip(b"\x00"))
        if len(text) <= characters_at_most:
            fits, best = middle, text
        else:
            too_long = middle
    return best


def _encode_whole(watermark: int, finished: bytes) -> str:
    if not finished:
        return ""
    candidates = [("b", _bitset(finished))]
    if finished.count(b"\x00\x01") < len(candidates[0][1]):  # else each run costs more than the bits that it spans
        candidates.append(("r", _runs(finished)))
    for method, payload in tuple(candidates):
        if len(payload) >= _COMPRESS_FROM_BYTES:
            candidates.append((method.upper(), zlib.compress(payload, 6)))
    method, payload = min(candidates, key=lambda each: len(each[1]))
    body = _crc(method, watermark, payload) + payload
    return _VERSION + method + base64.b85encode(body).decode("ascii")


def _crc(method: str, watermark: int, payload: bytes) -> bytes:
    """Cover the watermark too: a map is about one watermark, and an offset reset by hand may leave it behind."""
    return zlib.crc32(payload, zlib.crc32(f"{method}{watermark}".encode())).to_bytes(_CRC_BYTES, "big")


def _checked(method: str, watermark: int, encoded: str) -> bytes:
    try:
        body = base64.b85decode(encoded)
    except ValueError as error:
        raise UnreadableMapError(f"the offset map is not Base85: {error}") from error
    if base64.b85encode(body).decode("ascii") != encoded:
        raise UnreadableMapError("the offset map is not spelled as ours are")
    if body[:_CRC_BYTES] != _crc(method, watermark, body[_CRC_BYTES:]):
        raise UnreadableMapError(f"the offset map is damaged, or belongs to another offset than {watermark}")
    return body[_CRC_BYTES:]


def _bitset(finished: bytes) -> bytes:
    digits = finished[::-1].translate(_TO_DIGITS)
    return int(digits, 2).to_bytes((len(finished) + 7) // 8, "big")


def _from_bitset(payload: bytes) -> bytes:
    digits = f"{int.from_bytes(payload, 'big'):b}".encode("ascii")
    return digits.translate(_FROM_DIGITS)[::-1].rstrip(b"\x00")


def _runs(finished: bytes) -> bytes:
    encoded = bytearray()
    for length in _run_lengths(finished):
        _append_varint(encoded, length)
    return bytes(encoded)


def _run_lengths(finished: bytes) -> Iterator[int]:
    start, sought = 0, 1
    while start < len(finished):
        end = finished.find(sought, start)
        end = len(finished) if end < 0 else end
        yield end - start
        start, sought = end, 1 - sought


def _append_varint(encoded: bytearray, number: int) -> None:
    while number > 0x7F:  # noqa: PLR2004 - LEB128: seven bits to a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)


def _from_runs(payload: bytes) -> bytes:
    finished = bytearray()
    value = b"\x00"
    for length in _varints(payload):
        if length + len(finished) > SPAN_AT_MOST:
            raise UnreadableMapError(f"the offset map spans more than {SPAN_AT_MOST} offsets")
        finished += value * length
        value = b"\x01" if value == b"\x00" else b"\x00"
    return bytes(finished.rstrip(b"\x00"))


def _varints(payload: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in payload:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - LEB128: the top bit says that more follows
            yield number
            number = shift = 0
    if shift:
        raise UnreadableMapError("the offset map ends within a number")


def _inflated(payload: bytes) -> bytes:
    """Bound what comes out: a few bytes of zlib can hold gigabytes."""
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(payload, SPAN_AT_MOST)
    except zlib.error as error:
        raise UnreadableMapError(f"the offset map does not inflate: {error}") from error
    if not inflater.eof:
        raise UnreadableMapError("the offset map inflates to more than can be, or is cut")
    return inflated


_TO_DIGITS = bytes.maketrans(b"\x00\x01", b"01")
_FROM_DIGITS = bytes.maketrans(b"01", b"\x00\x01")
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "r": _from_runs,
    "b": _from_bitset,
    "R": lambda payload: _from_runs(_inflated(payload)),
    "B": lambda payload: _from_bitset(_inflated(payload)),
}
