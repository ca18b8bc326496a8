"""Cases one after the other on one broker, then soaks side by side: each judged, told and saved as it ends."""

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from benchmarks.chaos.broker import chaos_broker
from benchmarks.chaos.errors import ChaosError
from benchmarks.chaos.plan import Case
from benchmarks.chaos.progress import Telling
from benchmarks.chaos.report import Report
from benchmarks.chaos.runner import Outcome, run
from benchmarks.chaos.soak import Sampler, SoakOutcome, growth
from benchmarks.chaos.stage import Stage
from testbed.errors import TestbedError
from testbed.kafka import Kafka

_CASE_SECONDS = 75.0
"""Longer than a case takes on most machines: with less left of the budget, or than the longest took, none begins."""
_LOAD_SECONDS = 45.0
"""What a case takes beside waiting for its group to finish."""


class Series:
    """Runs what is open in a report."""

    def __init__(
        self,
        report: Report,
        *,
        console: Console,
        root: Path,
        patience_seconds: float,
        budget_seconds: float | None,
        keeps_logs: bool,
    ) -> None:
        """Take `budget_seconds` to begin no case that would end later; None is for no end."""
        self._report = report
        self._console = console
        self._root = root
        self._patience_seconds = patience_seconds
        self._deadline = time.monotonic() + budget_seconds if budget_seconds is not None else float("inf")
        self._keeps_logs = keeps_logs
        self._longest_seconds = _CASE_SECONDS
        self._saving = threading.Lock()
        self._halted = threading.Event()

    def run(self, *, soaks: list[Case]) -> None:
        """Run all that is open, `soaks` last; what cannot run is told in the report."""
        waiting = self._report.open
        broker = chaos_broker()
        try:
            with Telling(self._console, cases=len(waiting)) as telling:
                broker.start()
                self._cases([case for case in waiting if case not in soaks], broker, telling)
                self._side_by_side([case for case in waiting if case in soaks], broker, telling)
        except TestbedError as error:
            self._console.print(f"[red]no broker:[/red] {error}")
            self._fail("", str(error))
        finally:
            self._report.save()
            broker.remove()

    def _cases(self, cases: list[Case], broker: Kafka, telling: Telling) -> None:
        """Run each, and once more those that proved nothing, where the time allows it."""
        for case in cases:
            self._case(case, broker, telling)
        for case in filter(self._report.is_unproved, cases):
            if self._has_time:
                self._case(case, broker, telling)

    @property
    def _has_time(self) -> bool:
        return self._deadline - time.monotonic() >= self._longest_seconds

    def _case(self, case: Case, broker: Kafka, telling: Telling) -> None:
        if not self._has_time:
            self._fail(case.name, "not run: the time is over")
            return
        began = time.monotonic()
        patience = min(self._patience_seconds, self._deadline - began - _LOAD_SECONDS)
        self._attempt(case, broker, telling, tick=telling, book=self._book, patience=patience)
        self._longest_seconds = max(self._longest_seconds, time.monotonic() - began)

    def _side_by_side(self, soaks: list[Case], broker: Kafka, telling: Telling) -> None:
        """Soak in a thread each: they take 10 minutes together, at a rate that leaves the machine room."""
        if not soaks:
            return
        with ThreadPoolExecutor(max_workers=len(soaks)) as pool:
            futures = [pool.submit(self._soak, case, broker, telling) for case in soaks]
            try:
                for future in futures:
                    future.result()
            except BaseException:  # also an interrupt: the threads must end before their broker does
                self._halted.set()
                raise

    def _soak(self, case: Case, broker: Kafka, telling: Telling) -> None:
        sampler = Sampler()

        def tick(stage: Stage) -> None:
            if self._halted.is_set():
                raise ChaosError("interrupted")
            telling(stage)
            sampler(stage)

        def book(outcome: Outcome) -> list[str]:
            soak = SoakOutcome(outcome=outcome, growth=growth(sampler.samples), samples=sampler.samples)
            self._report.book_soak(soak)
            return [*soak.failures, *outcome.verdict.unproved]

        self._attempt(case, broker, telling, tick=tick, book=book, patience=self._patience_seconds)

    def _attempt(
        self,
        case: Case,
        broker: Kafka,
        telling: Telling,
        *,
        tick: Callable[[Stage], None],
        book: Callable[[Outcome], list[str]],
        patience: float,
    ) -> None:
        telling.began(case)
        try:
            outcome = run(case, broker, root=self._root, patience_seconds=patience, tick=tick)
        except ChaosError as error:
            telling.ended(case, None, [f"not judged: {error}"])
            self._fail(case.name, str(error))
            return
        with self._saving:
            failures = book(outcome)
            self._report.save()
        telling.ended(case, outcome, failures)
        if not failures and not self._keeps_logs:
            shutil.rmtree(outcome.folder)

    def _book(self, outcome: Outcome) -> list[str]:
        self._report.book(outcome)
        return [*outcome.verdict.failures, *outcome.verdict.unproved]

    def _fail(self, case: str, error: str) -> None:
        with self._saving:
            self._report.book_error(case, error)
            self._report.save()
