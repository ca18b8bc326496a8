"""`python -m benchmarks.gate`: run the matrix, compare with this machine's stored run, keep it if there is none."""

import contextlib
import json
import logging
import os
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import whole_file
from benchmarks.compare import open_loop, topics
from benchmarks.compare.errors import CompareError
from benchmarks.compare.handlers import iterations_of
from benchmarks.compare.job import Kind
from benchmarks.compare.measure import Pace, run
from benchmarks.compare.open_loop import Offer
from benchmarks.compare.topics import Contents
from benchmarks.compare.works import System, Work
from benchmarks.gate import failures
from benchmarks.gate.matrix import RAW, cells
from benchmarks.gate.verdict import Cell, regressions
from benchmarks.machine import machine
from testbed.errors import TestbedError
from testbed.kafka import Kafka

_PACE = Pace(warm=2.0, warm_java=0.0, window=4.0)
_LATENCY_SECONDS = 5.0
_HELP = """The regression matrix: rates as ratios to the raw loop, and p99, against this machine's stored run.

The first run is stored, and later ones are compared with it; status 1 is for a regression.

Examples:

  python -m benchmarks.gate

  python -m benchmarks.gate --rounds 1 --tolerance 0.3

  python -m benchmarks.gate --accept
"""
_SAME = ("cores", "python")
"""What two runs must have in common to be compared."""
_app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
_console = Console(highlight=False)


@_app.command(help=_HELP)
def main(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each cell; medians count.")] = 3,
    messages: Annotated[int, typer.Option(min=100_000, help="In the topic.")] = 2_000_000,
    tolerance: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of a ratio that may be lost.")] = 0.2,
    accept: Annotated[bool, typer.Option("--accept", help="Store this run, whatever it says.")] = False,
    stored: Annotated[Path, typer.Option(help="The stored run.")] = Path("build/bench-gate.json"),
) -> None:
    """Measure and compare; exits with 1 on a regression, or when a run was wrong, which is never stored."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gate = _Gate(rounds, messages)
    try:
        now = gate.measure()
    except (CompareError, TestbedError) as error:
        _console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error
    before = _stored(stored)
    _warn_of_company()
    found = regressions(now, before, tolerance=tolerance)
    _console.print(table(now, before))
    for each in found:
        _console.print(f"[red]regression:[/] {each}")
    for each in gate.failed.values():
        _console.print(f"[red]failed:[/] {each}")
    if gate.failed:
        raise typer.Exit(1)
    if accept or not before:
        _store(stored, now)
        _console.print(f"stored in {stored}")
    raise typer.Exit(int(bool(found) and not accept))


def _warn_of_company() -> None:
    """Say it when others use the cores: a ratio to a loop on one core does not hold for settings that need all."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > 2 * cores:
        _console.print(f"[yellow]load average {load:.0f} on {cores} cores: others ran beside this; repeat it alone[/]")


def table(now: dict[str, Cell], before: dict[str, Cell]) -> Table:
    """Return each cell beside its stored self."""
    shown = Table("cell", "msg/s", "of raw", "stored", "p99 ms", "stored")
    for name, cell in now.items():
        old = before.get(name)
        shown.add_row(
            name,
            f"{cell.msgs_per_second:,.0f}",
            f"{cell.of_raw:.4f}",
            f"{old.of_raw:.4f}" if old else "-",
            _milliseconds(cell),
            _milliseconds(old) if old else "-",
        )
    return shown


def _milliseconds(cell: Cell) -> str:
    return f"{cell.latency_ms_p99:.1f}" if cell.latency_ms_p99 is not None else "-"


class _Gate:
    """One run of the matrix, cell by cell in interleaved rounds."""

    def __init__(self, rounds: int, messages: int) -> None:
        self.rounds = rounds
        self.contents = Contents(messages=messages)
        self.kafka = Kafka()
        self.iterations = 0
        self.failed: dict[str, str] = {}
        """Why cells could not be measured, by their names; the others are measured all the same."""

    def measure(self) -> dict[str, Cell]:
        was_up = self.kafka.is_up()
        self.kafka.start()
        try:
            return self._cells()
        finally:
            if not was_up:
                self.kafka.remove()

    def _cells(self) -> dict[str, Cell]:
        works = cells()
        self.iterations = iterations_of(next(each.seconds for each in works.values() if each.kind is Kind.CPU))
        raw: list[float] = []
        rates: dict[str, list[float]] = {name: [] for name in (*works, "failures")}
        for _ in range(self.rounds):
            raw.append(self._rate(System.RAW, RAW))
            for name, found in rates.items():
                with self._noting(name):
                    found.append(self._rate(System.OURS, works[name]) if name in works else failures.run(self.kafka))
                    _console.print(f"{name}: {found[-1]:,.0f}/s")
        reference = statistics.median(raw)
        medians = {name: statistics.median(found) for name, found in rates.items() if found}
        latencies: dict[str, float] = {}
        for name, work in works.items():
            if name in medians:
                with self._noting(name):
                    latencies[name] = self._p99(work, medians[name])
        return {
            name: Cell(msgs_per_second=rate, of_raw=rate / reference, latency_ms_p99=latencies.get(name))
            for name, rate in medians.items()
        }

    @contextlib.contextmanager
    def _noting(self, name: str) -> "Iterator[None]":
        try:
            yield
        except CompareError as error:
            self.failed[name] = str(error)
            _console.print(f"{name}: [red]failed:[/] {error}")

    def _rate(self, system: System, work: Work) -> float:
        topic = topics.filled(self.kafka, self.contents)
        servers = self.kafka.bootstrap_servers
        return run(system, work, topic, servers=servers, iterations=self.iterations, pace=_PACE).msgs_per_second

    def _p99(self, work: Work, rate: float) -> float:
        offered = min(open_loop.LOAD * rate, open_loop.RATE_AT_MOST)
        offer = Offer(per_second=offered, warm_seconds=_PACE.warm, seconds=_LATENCY_SECONDS)
        return open_loop.latency(System.OURS, work, self.kafka, offer, iterations=self.iterations).p99


def _stored(path: Path) -> dict[str, Cell]:
    """Return the stored cells; none for another machine's. Raises typer.Exit for a file that cannot be read."""
    if not path.exists():
        return {}
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        found = {name: Cell(**cell) for name, cell in document["cells"].items()}
        there, here = document["machine"], machine()
    except (ValueError, KeyError, TypeError) as error:
        _console.print(f"[red]{path} is no stored run: {error!r}; move it away[/]")
        raise typer.Exit(1) from error
    if any(there.get(name) != here[name] for name in _SAME):
        _console.print(f"{path} is of another machine or Python: not compared")
        return {}
    return found


def _store(path: Path, found: dict[str, Cell]) -> None:
    document = {"machine": machine(), "cells": {name: asdict(cell) for name, cell in found.items()}}
    whole_file.write_json(path, document)


if __name__ == "__main__":
    _app()
