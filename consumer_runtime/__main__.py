"""The command line of `python -m consumer_runtime`. Only arguments and exit codes; `program` does the work."""

import contextlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from consumer_runtime import dead_letter_replay, logs, program, termination
from consumer_runtime.contract import pod
from consumer_runtime.contract.settings import LogLevel, RuntimeSettings
from consumer_runtime.dead_letter_replay import Replay, Wanted
from consumer_runtime.errors import StartFailure

_EXAMPLE = """
Example of a settings file:

    source:
      kafka:
        bootstrap_servers: [localhost:9092]
        topics: [orders]
        consumer_group: shop
    handler:
      entrypoint: shop.orders:handle
    execution:
      mode: async
      max_in_flight: 256

Exit codes: 0 stopped in good order, 1 a fault of the runtime's own, 2 wrong arguments, """

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="A parallel Kafka consumer.",
)  # fmt: skip

ConfigOption = Annotated[
    Path, typer.Option("--config", envvar=pod.SETTINGS_FILE_VARIABLE, help="The settings file, YAML or JSON.")
]


def _epilog() -> str:
    codes = ", ".join(f"{code} {reason}" for reason, code in termination.EXIT_CODES.items())
    return "\n\n".join("\b\n" + part for part in (_EXAMPLE + codes + ".").strip().split("\n\n"))


@app.command(epilog=_epilog())
def run(config: ConfigOption = Path(pod.SETTINGS_FILE)) -> None:
    """Consume until SIGTERM. The file is watched: valid changes come into force while it runs."""
    _ending(lambda: program.run(config))


@app.command()
def check(config: ConfigOption = Path(pod.SETTINGS_FILE)) -> None:
    """Validate a settings file and import its handler, without connecting to anything."""

    def both() -> None:
        settings = program.load_settings(config)
        handler = program.load_handler(settings)
        kind = "an `async def`" if handler.is_async else "a `def`"
        hint = f", mode auto would take {handler.mode_hint}" if handler.mode_hint else ""
        typer.echo(f"{config} is valid; {handler.name} is {kind} handler{hint}.")

    logs.configure(LogLevel.INFO)
    _ending(both)


@app.command(epilog="Example: python -m consumer_runtime embedded-kafka --topic orders")
def embedded_kafka(
    topic: Annotated[list[str], typer.Option(help="A topic to make, with 4 partitions; may be repeated.")],
) -> None:
    """Run a Kafka for first tries until SIGTERM or Ctrl-C; the first line printed is its address. Keeps no data."""
    from consumer_runtime.embedded import EmbeddedKafka

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with EmbeddedKafka() as kafka, contextlib.suppress(KeyboardInterrupt):
        for each in topic:
            kafka.create(each)
        print(kafka.bootstrap_servers, flush=True)  # noqa: T201 - what the command is for
        while True:
            signal.pause()


@app.command(name="replay-dead-letters")
def replay_dead_letters(
    config: ConfigOption = Path(pod.SETTINGS_FILE),
    topic: Annotated[str | None, typer.Option(help="The dead letter topic; by default that of the settings.")] = None,
    error_class: Annotated[
        str | None, typer.Option(help="Only letters of this error class, such as builtins:ValueError; others are left.")
    ] = None,
    at_most: Annotated[int, typer.Option(min=0, help="Letters to look at; 0 is all.")] = 0,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Earlier runs' letters again.")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,  # noqa: FBT002
) -> None:
    """Send dead letters back to the topics and partitions they came from."""
    wanted = Wanted(
        topic=topic, error_class=error_class, at_most=at_most, from_beginning=from_beginning, dry_run=dry_run
    )
    logs.configure(LogLevel.WARNING)
    _ending(lambda: _replay(program.load_settings_with_secrets(config), wanted))


def _replay(settings: RuntimeSettings, wanted: Wanted) -> None:
    with typer.progressbar(length=1, label="Dead letters", file=sys.stderr) as bar:

        def show(did: Replay) -> None:
            bar.length = max(did.total, 1)
            bar.update(did.seen - bar.pos)

        did = dead_letter_replay.replay(settings, wanted, on_progress=show)
    for (topic, error_class), count in sorted(did.replayed.items()):
        typer.echo(f"{topic}: {count} of {error_class} {'would be' if wanted.dry_run else 'were'} sent back")
    typer.echo(
        f"{did.seen} of {did.total} letters looked at, {did.passed_over} passed over, {did.unreadable} not readable,"
        f" {did.gone} whose message is gone"
    )


def _ending(work: Callable[[], None]) -> None:
    try:
        work()
    except StartFailure as failure:
        sys.exit(termination.report(failure))


if __name__ == "__main__":
    app()
