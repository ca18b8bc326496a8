"""The command line of `python -m consumer_runtime`. Only arguments and exit codes; `program` does the work."""

import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from consumer_runtime import commands, logs, program, termination
from consumer_runtime.commands import REPLAY_EXAMPLE, ConfigOption, ending, verbatim
from consumer_runtime.contract import pod
from consumer_runtime.contract.settings import LogLevel

_FIRST_TRY = """
First try, in two shells; `run --help` has an example of a settings file:

    python -m consumer_runtime embedded-kafka --topic orders
    python -m consumer_runtime check --config runtime.yaml
    python -m consumer_runtime run --config runtime.yaml
"""
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
    help="A parallel Kafka consumer.", epilog=verbatim(_FIRST_TRY),
)  # fmt: skip


_CODES = ", ".join(f"{code} {reason}" for reason, code in termination.EXIT_CODES.items())


@app.command(epilog=verbatim(f"{_EXAMPLE}{_CODES}."))
def run(config: ConfigOption = Path(pod.SETTINGS_FILE)) -> None:
    """Consume until SIGTERM. The file is watched: valid changes come into force while it runs."""
    ending(lambda: program.run(config))


@app.command()
def check(config: ConfigOption = Path(pod.SETTINGS_FILE)) -> None:
    """Validate a settings file, its handler and librdkafka's properties, without connecting to anything."""

    def both() -> None:
        handler = program.check(config)
        kind = "an `async def`" if handler.is_async else "a `def`"
        hint = f", mode auto would take {handler.mode_hint}" if handler.mode_hint else ""
        typer.echo(f"{config} is valid; {handler.name} is {kind} handler{hint}.")

    logs.configure(LogLevel.INFO)
    ending(both)


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


app.command(name="replay-dead-letters", epilog=verbatim(REPLAY_EXAMPLE))(commands.replay_dead_letters)
app.add_typer(commands.offsets, name="offsets")


if __name__ == "__main__":
    app()
