import base64
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer_runtime.ledger import codec
from consumer_runtime.ledger.offsets import SPAN_AT_MOST, Progress


def strewn(seed: int, span: int, percent: int) -> bytes:
    """Return a map of so many offsets of which a share is finished."""
    draw = random.Random(seed)
    return bytes(draw.random() * 100 < percent for _ in range(span)).rstrip(b"\x00")


# not st.lists: those are of five elements or so, and fit whatever the room
FLAGS = st.builds(strewn, st.integers(0, 10_000), st.integers(0, 3_000), st.integers(0, 100))
RUNS = st.lists(st.integers(1, 5_000), max_size=60).map(
    lambda lengths: b"".join(bytes([index % 2]) * length for index, length in enumerate(lengths)).rstrip(b"\x00")
)


def unfinished_map(*, span: int, unfinished: int) -> bytes:
    """Return a map with so many unfinished offsets strewn over a span."""
    finished = bytearray(b"\x01" * span)
    for offset in random.Random(7).sample(range(span), unfinished):
        finished[offset] = 0
    finished[0] = 0
    return bytes(finished).rstrip(b"\x00")


@given(st.integers(0, 2**62), st.one_of(FLAGS, RUNS))
@settings(deadline=None)
def test_what_fits_comes_back_as_it_was(watermark: int, finished: bytes):
    """Encoding loses nothing, unless it says that it cut."""
    encoded = codec.encode(Progress(watermark, finished))
    assert len(encoded.text) <= codec.TEXT_CHARACTERS_AT_MOST
    decoded = codec.decode(encoded.text, watermark)
    assert decoded == finished if not encoded.is_cut else finished.startswith(decoded)


@given(st.integers(0, 2**40), FLAGS, st.integers(0, 120))
@settings(deadline=None)
def test_a_map_without_room_is_cut_and_never_wrong(watermark: int, finished: bytes, room: int):
    """However little room there is: no offset is called finished that is not, and the bound holds."""
    encoded = codec.encode(Progress(watermark, finished), characters_at_most=room)
    assert len(encoded.text) <= room
    decoded = codec.decode(encoded.text, watermark)
    assert finished.startswith(decoded)
    assert encoded.is_cut is (decoded != finished)


@pytest.mark.parametrize(
    ("span", "unfinished", "characters_at_most"), [(50_000, 1, 20), (20_000, 1_000, 1_300), (20_000, 5_000, 2_800)]
)
def test_sizes_stay_near_what_was_measured(span: int, unfinished: int, characters_at_most: int):
    """The encodings of the design: 4 B, 988 B and 2,146 B, a quarter more for Base85, and 6 for the frame."""
    finished = unfinished_map(span=span, unfinished=unfinished)
    encoded = codec.encode(Progress(1_000_000, finished))
    assert not encoded.is_cut
    assert len(encoded.text) <= characters_at_most


def test_a_map_far_too_large_keeps_a_useful_part():
    """A cut map still saves most of the room's worth of work from running again."""
    finished = unfinished_map(span=200_000, unfinished=80_000)
    encoded = codec.encode(Progress(0, finished))
    assert encoded.is_cut
    assert len(encoded.text) > 0.95 * codec.TEXT_CHARACTERS_AT_MOST
    decoded = codec.decode(encoded.text, 0)
    assert len(decoded) > 20_000
    assert finished.startswith(decoded)


@given(st.one_of(st.text(max_size=400), st.builds("1{}{}".format, st.sampled_from("rbRB"), st.text(max_size=60))))
@settings(max_examples=400)
def test_any_text_is_a_map_of_ours_or_refused(text: str):
    """Metadata is written by anybody who has access to the group: garbage never finishes a message."""
    try:
        finished = codec.decode(text, 5)
    except codec.UnreadableMapError:
        return
    assert (finished, text) == (b"", "")


@given(st.integers(0, 2**40), st.sampled_from("rbRB"), st.binary(max_size=200), st.booleans())
@settings(deadline=None, max_examples=400)
def test_any_payload_is_a_map_or_refused(watermark: int, method: str, payload: bytes, deflate: bool):
    """Even one whose checksum is right: what comes out is a map of bounded size, or the one error."""
    payload = zlib.compress(payload) if deflate else payload
    checksum = zlib.crc32(payload, zlib.crc32(f"{method}{watermark}".encode())).to_bytes(4, "big")
    text = f"1{method}{base64.b85encode(checksum + payload).decode()}"
    try:
        finished = codec.decode(text, watermark)
    except codec.UnreadableMapError:
        return
    assert set(finished) <= {0, 1}
    assert not finished.endswith(b"\x00")
    assert len(finished) <= SPAN_AT_MOST


@given(st.integers(0, 2**40), FLAGS.filter(len), st.data())
@settings(deadline=None)
def test_a_damaged_map_is_refused(watermark: int, finished: bytes, data: st.DataObject):
    """One changed character anywhere is noticed."""
    text = codec.encode(Progress(watermark, finished)).text
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("0123456789abcxyzRBrb!").filter(lambda character: character != text[at]))
    with pytest.raises(codec.UnreadableMapError):
        codec.decode(text[:at] + other + text[at + 1 :], watermark)


@given(st.integers(0, 2**40), st.integers(1, 2**40), FLAGS.filter(len))
def test_a_map_of_another_watermark_is_refused(watermark: int, further: int, finished: bytes):
    """An offset reset by hand that leaves the metadata behind must not skip messages."""
    text = codec.encode(Progress(watermark, finished)).text
    with pytest.raises(codec.UnreadableMapError, match="another offset"):
        codec.decode(text, watermark + further)


def test_another_version_is_refused_by_name():
    """A map of a later version of the code says so instead of being misread."""
    text = codec.encode(Progress(0, b"\x00\x01")).text
    with pytest.raises(codec.UnreadableMapError, match="no offset map of version 1"):
        codec.decode("2" + text[1:], 0)


def test_a_map_that_inflates_without_end_is_refused():
    """A few bytes of zlib may hold gigabytes: memory is bounded whatever the metadata says."""
    payload = zlib.compress(b"\xff" * 50_000_000, 9)[:100_000]
    body = codec._crc("B", 0, payload) + payload
    with pytest.raises(codec.UnreadableMapError, match="inflates"):
        codec.decode("1B" + base64.b85encode(body).decode(), 0)
