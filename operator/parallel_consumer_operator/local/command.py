"""The command `local`: arguments and exit codes only; `run.py` does the work."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console

from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.local.load import Load
from parallel_consumer_operator.local.machine import scratch_directory
from parallel_consumer_operator.local.run import Plan, run


def local(
    file: Annotated[Path, typer.Option("-f", "--filename", exists=True, help="The manifest: a YAML file or a folder.")],
    bootstrap_servers: Annotated[str, typer.Option(help="A Kafka of yours; default: an embedded one.")] = "",
    prometheus_url: Annotated[str, typer.Option(help="A Prometheus that scrapes the pods; default: its own.")] = "",
    rate: Annotated[int, typer.Option(min=1, help="Messages offered per second.")] = 4_000,
    messages: Annotated[
        int | None,
        typer.Option(min=0, help="Messages offered; default 200000, and none to a Kafka of yours."),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="End after so long; default: when all is done.")] = None,
    output: Annotated[Path, typer.Option(help="The run's figures, as JSON.")] = Path("build/demo.json"),
) -> None:
    """Run a ParallelConsumer on this machine without Kubernetes, and tune it: a manifest tried in a minute."""
    offered = (0 if bootstrap_servers else 200_000) if messages is None else messages
    console = Console(highlight=False)
    plan = Plan(
        path=file,
        directory=scratch_directory(),
        output=output,
        bootstrap_servers=bootstrap_servers,
        prometheus_url=prometheus_url,
        load=Load(rate=rate, messages=offered) if offered else None,
        seconds_at_most=seconds,
    )
    _log_to(plan.directory / "operator.jsonl")
    try:
        kept = asyncio.run(_interruptible(plan, console))
    except OperatorError as error:
        console.print(f"[bold red]error:[/] {error}")
        raise typer.Exit(1) from error
    raise typer.Exit(0 if kept else 1)


def _log_to(file: Path) -> None:
    """Keep the operator's log lines, decisions with their whole input among them, out of the table."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=structlog.WriteLoggerFactory(file.open("w", buffering=1)),
    )


async def _interruptible(plan: Plan, console: Console) -> bool:
    """End in good order on Ctrl-C or SIGTERM: pods are drained, not cut off."""
    task = asyncio.ensure_future(run(plan, console))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        console.print("Ended before all was done.")
        return False
