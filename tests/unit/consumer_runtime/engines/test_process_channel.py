"""Frames over a socket pair, and the progress cell beside it."""

import os
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer_runtime.engines.process_cell import Cell, Progress
from consumer_runtime.engines.process_channel import BrokenFrameError, Channel, Frames, frame, pair

VALUES = st.lists(
    st.tuples(st.text(max_size=5), st.integers(), st.none() | st.binary(max_size=300), st.floats(allow_nan=False)),
    max_size=8,
)


@given(VALUES, st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_they_are_cut(values: list[object], size: int) -> None:
    """Any cutting of the stream gives the same values in the same order."""
    stream = b"".join(b"".join(frame(value)) for value in values)
    frames = Frames()
    got = [value for at in range(0, len(stream), size) for value in frames.feed(stream[at : at + size])]
    assert got == values


@given(VALUES.filter(bool), st.data())
def test_an_unfinished_frame_is_never_returned(values: list[object], data: st.DataObject) -> None:
    """What a dead worker left half-written is not taken for an answer."""
    last = b"".join(frame(values[-1]))
    cut = data.draw(st.integers(0, len(last) - 1))
    stream = b"".join(b"".join(frame(value)) for value in values[:-1]) + last[:cut]
    assert Frames().feed(stream) == values[:-1]


def test_what_is_no_frame_is_an_error_of_ours() -> None:
    """A handler that writes to a descriptor it does not own does not bring the parent down."""
    with pytest.raises(BrokenFrameError):
        Frames().feed(b"\x03\x00\x00\x00xyz")


def test_a_peer_that_reads_nothing_blocks_nobody() -> None:
    """What the kernel does not take is kept, and goes out in order once there is room."""
    ours, theirs = pair()
    channel = Channel(ours)
    began = time.monotonic()
    for n in range(5):
        channel.send(b"%d" % n * 1_000_000)
    assert time.monotonic() - began < 1
    assert channel.has_unsent
    frames, got = Frames(), []
    while len(got) < 5:
        channel.flush()
        got += frames.feed(theirs.recv(100_000))
    assert [value[:1] for value in got] == [b"0", b"1", b"2", b"3", b"4"]
    assert not channel.has_unsent
    channel.close()
    theirs.close()


def test_what_a_dead_peer_said_before_is_still_heard() -> None:
    """Answers in the socket outlive the worker; sending to it is no error but a broken channel."""
    ours, theirs = pair()
    channel = Channel(ours)
    theirs.sendall(b"".join(frame(("last", 1))) + b"\x05\x00")
    theirs.close()
    channel.send(("anything",))
    assert channel.receive() == [("last", 1)]
    assert channel.is_broken
    channel.close()


def test_ends_are_not_inherited() -> None:
    """A descriptor that a child inherits by chance would keep a dead worker's channel open."""
    ours, theirs = pair()
    assert not ours.get_inheritable()
    assert not theirs.get_inheritable()
    assert isinstance(ours, socket.socket)
    ours.close()
    theirs.close()


def test_a_cell_is_read_as_it_was_written() -> None:
    """Two mappings of one page, as in two processes."""
    descriptor = Cell.create()
    writer, reader = Cell(descriptor), Cell(descriptor)
    assert reader.read().running == 0
    writer.begin(7, 12.5, width=3)
    assert reader.read() == Progress(position=7, running=3, started_at=12.5)
    writer.rest(10)
    assert reader.read()[:2] == (10, 0)
    writer.close()
    reader.close()
    os.close(descriptor)
