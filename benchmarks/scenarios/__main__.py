"""`python -m benchmarks.scenarios`: generate scenarios, run them, look at what came of it."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from benchmarks.report import markdown, page, tables, terminal
from benchmarks.scenarios import broker, model, phases, results
from benchmarks.scenarios.errors import ScenarioFileError, WorkbenchError
from benchmarks.scenarios.measure import interruptible
from benchmarks.scenarios.model import Scenario, Strategy, Workload
from benchmarks.scenarios.phases import Suite
from benchmarks.scenarios.results import Results
from benchmarks.scenarios.run import perform_one, run_all, told

_HELP = """Generate scenarios, run them on a real Kafka, and look at what came of it.

Examples:

  python -m benchmarks.scenarios generate --suite quick --output s.json

  python -m benchmarks.scenarios run s.json --output r.json

  python -m benchmarks.scenarios report r.json --html report.html
"""
_app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", help=_HELP)
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

_GENERATE = """Write the scenarios of a suite: minimal 3, quick 11, full 71, process 4 (phase 9).

Examples:

  python -m benchmarks.scenarios generate --suite minimal --output s.json

  python -m benchmarks.scenarios generate --suite full --with-process --output s.json --csv s.csv
"""
_RUN = """Run a file of scenarios on the testbed's Kafka, which is started when it is down.

Results are saved after every scenario. Ctrl-C, then the same with --resume, goes on.

Examples:

  python -m benchmarks.scenarios run s.json --output r.json --limit 3

  python -m benchmarks.scenarios run s.json --output r.json --phase 3_concurrency_scaling --continue-on-error

  python -m benchmarks.scenarios run s.json --output r.json --resume
"""
_TEST = """Run one scenario given by options.

Example:

  python -m benchmarks.scenarios test --instances 20 --strategy async --workload cpu --work-duration 1.0 \\
  --max-concurrent-jobs 10
"""
_REPORT = """Write a page with plots, and the same as Markdown for a pull request.

Examples:

  python -m benchmarks.scenarios report r.json --html report.html --markdown report.md

  python -m benchmarks.scenarios report after.json --compare before.json --html report.html
"""
Servers = Annotated[
    str | None, typer.Option(envvar=broker.SERVERS_VARIABLE, help="A Kafka of yours; by default the testbed's.")
]
Embedded = Annotated[bool, typer.Option("--embedded", help="librdkafka's mock Kafka: to try, not to measure.")]


def _failed(error: Exception) -> typer.Exit:
    terminal.failed(_console, error)
    return typer.Exit(2 if isinstance(error, ScenarioFileError) else 1)


@_app.command(help=_GENERATE)
def generate(
    *,
    suite: Annotated[Suite, typer.Option(help="Which scenarios.")] = Suite.MINIMAL,
    output: Annotated[Path, typer.Option(help="The scenario file.")] = Path("build/scenarios.json"),
    csv: Annotated[Path | None, typer.Option(help="The same as a table.")] = None,
    with_process: Annotated[bool, typer.Option("--with-process", help="Add the 4 of phase 9_process.")] = False,
    repeats: Annotated[int, typer.Option(min=1, max=1_000, help="How often each is run.")] = 1,
) -> None:
    """Write a scenario file."""
    made = phases.generated(suite, with_process=with_process, repeats=repeats)
    try:
        model.write(made, output)
        if csv:
            model.write_csv(made, csv)
    except OSError as error:
        raise _failed(error) from error
    counts: dict[str, int] = {}
    for each in made:
        counts[each.phase] = counts.get(each.phase, 0) + 1
    told_phases = ", ".join(f"{phase} {count}" for phase, count in counts.items())
    _console.print(f"{len(made)} scenarios in {output}: {told_phases}", soft_wrap=True)


@_app.command(help=_RUN)
def run(
    scenarios: Annotated[Path, typer.Argument(help="A scenario file.")],
    *,
    output: Annotated[Path, typer.Option(help="The results file.")] = Path("build/scenario-results.json"),
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    phase: Annotated[str | None, typer.Option(help="Only this phase.")] = None,
    continue_on_error: Annotated[bool, typer.Option("--continue-on-error", help="One failure ends nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what succeeded in the results file.")] = False,
    bootstrap_servers: Servers = None,
    embedded: Embedded = False,
) -> None:
    """Run scenarios; exits with 1 when one did not succeed, 2 for a wrong file, 130 when interrupted."""
    try:
        planned = model.load(scenarios)
        chosen = _chosen(planned, phase, limit)
        where = broker.connect(bootstrap_servers, embedded=embedded)
        found = Results.begun(output, planned, chosen, broker=where.name, resume=resume)
        if found.lines:
            _console.print(f"{len(chosen) - len(found.todo)} of {len(chosen)} are there already")
        with interruptible():
            is_well = run_all(found, where, _console, continue_on_error=continue_on_error)
        found.save()
    except (WorkbenchError, KafkaException, OSError) as error:
        raise _failed(error) from error
    except KeyboardInterrupt:
        _console.print(f"interrupted; the same command with --resume goes on from {output}", markup=False)
        raise typer.Exit(130) from None
    terminal.show(found.document(), _console)
    _console.print(f"results: {output}", soft_wrap=True, markup=False)
    if not is_well:
        raise typer.Exit(1)


def _chosen(found: list[Scenario], phase: str | None, limit: int | None) -> list[Scenario]:
    if phase and phase not in (there := dict.fromkeys(each.phase for each in found)):
        hint = "; `generate --with-process` adds it" if phase == phases.PROCESS_PHASE else ""
        raise ScenarioFileError(f"--phase {phase}: the file has {', '.join(there)}{hint}")
    return [each for each in found if phase in (None, each.phase)][:limit]


@_app.command("test", help=_TEST)
def run_one(
    *,
    instances: Annotated[int, typer.Option(min=1, max=1_000_000, help="Jobs.")] = 20,
    strategy: Annotated[Strategy, typer.Option(help="How they run.")] = Strategy.ASYNC,
    workload: Annotated[Workload, typer.Option(help="What they do.")] = Workload.CPU,
    work_duration: Annotated[float, typer.Option(min=0, max=3_600, help="Seconds of work in each.")] = 1.0,
    max_concurrent_jobs: Annotated[int, typer.Option(min=1, max=100_000, help="At once.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, max=1_000, help="How often.")] = 1,
    timeout: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds for all of them.")] = 300.0,
    bootstrap_servers: Servers = None,
    embedded: Embedded = False,
) -> None:
    """Run one scenario and print its result; exits with 1 when it did not succeed."""
    one = Scenario(
        name="test", num_instances=instances, strategy=strategy, workload_type=workload, work_duration=work_duration,
        max_concurrent_jobs=max_concurrent_jobs, repeats=repeats, timeout=timeout,
    )  # fmt: skip
    try:
        with interruptible():
            line = perform_one(one, broker.connect(bootstrap_servers, embedded=embedded), _console)
    except (WorkbenchError, KafkaException, OSError) as error:
        raise _failed(error) from error
    _console.print(told(line))
    _console.print_json(data=line)
    if line["status"] != results.SUCCESS:
        raise typer.Exit(1)


@_app.command(help=_REPORT)
def report(
    found: Annotated[Path, typer.Argument(metavar="RESULTS", help="A results file of `run`.")],
    *,
    html: Annotated[Path | None, typer.Option(help="A page that needs no other file.")] = None,
    as_markdown: Annotated[Path | None, typer.Option("--markdown", help="The same for a pull request.")] = None,
    compare: Annotated[Path | None, typer.Option(help="An earlier results file to compare with.")] = None,
) -> None:
    """Print the summary, and write it as HTML or Markdown."""
    try:
        document = results.load(found)
        before = results.load(compare) if compare else None
        for path, write in ((html, page.write), (as_markdown, markdown.write)):
            if path:
                write(document, path, before=before)
    except (WorkbenchError, OSError) as error:
        raise _failed(error) from error
    terminal.show(document, _console, before=before)
    if before and not tables.pairs(document["results"], before["results"]):
        _console.print(f"no scenario succeeded both here and in {compare}: there is nothing to compare", markup=False)
    for path in filter(None, (html, as_markdown)):
        _console.print(f"written: {path}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    _app()
