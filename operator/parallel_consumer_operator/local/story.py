"""Prints what the operator recorded of a tuning run, and the run's figures. Shows, and decides nothing."""

from rich.console import Console
from rich.table import Table

from parallel_consumer_operator.local.sample import Summary
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource.status import ParallelConsumerStatus
from parallel_consumer_operator.resource.tuning_status import HistoryEntry


def print_history(console: Console, consumer: Manifest) -> None:
    """Print `status.tuning.history` as a table, oldest first."""
    table = Table(title="status.tuning.history, as the operator recorded it", expand=True)
    for column in ("time", "what", "knob", "from", "to", "verdict"):
        table.add_column(column, no_wrap=True)
    table.add_column("why", ratio=1)
    for entry in sorted(ParallelConsumerStatus.parse(consumer).tuning.history, key=lambda each: each.time):
        table.add_row(*_row(entry))
    console.print(table)


def print_summary(console: Console, summary: Summary, shortfalls: list[str]) -> None:
    """Print the figures in a sentence or two, and each promise that was not kept."""
    console.print(
        f"{summary.messages_processed:,} of {summary.messages_offered:,} messages processed, {summary.lost} lost, "
        f"{summary.backlog_end:,} left; {summary.rate_before:,.0f} msg/s before the first step and "
        f"{summary.rate_after:,.0f} after the last of {summary.steps_applied}; the slowest step reached every pod in "
        f"{summary.apply_seconds_max:.2f} s; {summary.pod_restarts} restarts."
    )
    for sentence in shortfalls:
        console.print(f"Not as promised: {sentence}", style="bold red")


def _row(entry: HistoryEntry) -> list[str]:
    times = f" x{entry.count}" if entry.count > 1 else ""
    return [
        f"{entry.time:%H:%M:%S}",
        f"{entry.kind.value}{times}",
        entry.knob.value if entry.knob else "",
        str(entry.from_value or ""),
        str(entry.to_value or ""),
        entry.verdict.value if entry.verdict else "",
        f"{entry.reason}: {entry.message}",
    ]
