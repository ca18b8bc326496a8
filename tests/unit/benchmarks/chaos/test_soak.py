"""Whether something grows: the line through samples, and samples of real processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from benchmarks.chaos import soak
from benchmarks.chaos.soak import Sample


def samples(rss: Callable[[int], float], *, descriptors: Callable[[int], float] = lambda _: 30) -> list[Sample]:
    """A hundred samples, two seconds apart."""
    return [
        Sample(at_seconds=2.0 * index, rss_bytes=int(rss(index)), descriptors=int(descriptors(index)), threads=9)
        for index in range(100)
    ]


def test_a_line_rises_by_its_slope_times_the_span() -> None:
    """Exact for points on a line."""
    assert soak.rise([0, 1, 2, 3], [10, 12, 14, 16]) == pytest.approx(6)
    assert soak.rise([0, 1, 2], [5, 5, 5]) == 0


def test_a_flat_run_with_noise_and_a_steep_start_does_not_grow() -> None:
    """The warm-up may climb, and samples may wobble."""
    flat = samples(lambda index: min(index, 20) * 5e6 + 1e8 + (index % 2) * 1e6)
    assert soak.growth(flat).failures == []


def test_a_leak_of_memory_grows() -> None:
    """Five per cent over the measured time."""
    found = soak.growth(samples(lambda index: 1e8 * (1 + 0.05 * index / 75)))
    assert found.rss_percent == pytest.approx(5, abs=0.5)
    assert len(found.failures) == 1
    assert "rss_percent" in found.failures[0]


def test_a_leak_of_descriptors_grows() -> None:
    """One every ten seconds."""
    found = soak.growth(samples(lambda _: 1e8, descriptors=lambda index: 30 + index // 5))
    assert [failure.split()[0] for failure in found.failures] == ["descriptors"]


def test_too_few_samples_are_refused() -> None:
    """Two points make a line through anything."""
    with pytest.raises(ValueError, match="too few"):
        soak.growth(samples(lambda _: 1e8)[:2])


def test_a_sample_counts_a_process_with_its_children() -> None:
    """Workers are part of their consumer; a process that is gone counts nothing."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:
        try:
            alone = soak.sample(0, [os.getpid()])
            both = soak.sample(0, [parent.pid, 2**22 + 1])
            for _ in range(100):
                both = soak.sample(0, [parent.pid, 2**22 + 1])
                if both.threads == 2:
                    break
                time.sleep(0.05)
            assert both.threads == 2
            assert both.rss_bytes > 5_000_000
            assert alone.descriptors > 0
        finally:
            parent.communicate(b"\n", timeout=20)
    assert soak.sample(0, [parent.pid]).rss_bytes == 0
