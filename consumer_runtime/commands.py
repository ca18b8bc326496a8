"""The operations commands of the command line: dead letters sent back, offsets shown and moved.

Only arguments, tables and progress; `dead_letter_replay` and `group_offsets` do the work.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from consumer_runtime import dead_letter_replay, logs, program, termination
from consumer_runtime.backfill import as_backfill, plan
from consumer_runtime.backfill import run as run_backfill
from consumer_runtime.contract import pod
from consumer_runtime.contract.settings import LogLevel, RuntimeSettings
from consumer_runtime.dead_letter_replay import Replay, Wanted
from consumer_runtime.errors import StartFailure
from consumer_runtime.group_offsets import GroupInUseError, GroupOffsets, Stand, Target

GROUP_IN_USE = 21
"""Exit code: offsets cannot be moved under active members."""
BACKFILL_STOPPED = 22
"""Exit code: a backfill was stopped before its end; the same command goes on."""

ConfigOption = Annotated[
    Path, typer.Option("--config", envvar=pod.SETTINGS_FILE_VARIABLE, help="The settings file, YAML or JSON.")
]
TopicsOption = Annotated[
    list[str] | None,
    typer.Option("--topic", help="Only this topic (may be repeated); by default all."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

REPLAY_EXAMPLE = """
First look, then send back what one error caused:

    python -m consumer_runtime replay-dead-letters --config runtime.yaml --dry-run
    python -m consumer_runtime replay-dead-letters --config runtime.yaml --error-class shop.errors:Unpaid
"""
_RESET_EXAMPLE = """
Examples; begin with --dry-run, which shows the table and moves nothing:

    python -m consumer_runtime offsets reset --config runtime.yaml --to time:2026-11-20T08:00:00Z --dry-run
    python -m consumer_runtime offsets reset --config runtime.yaml --to shift:-500 --topic orders
"""
_BACKFILL_EXAMPLE = """
Example:

    python -m consumer_runtime offsets backfill --config runtime.yaml --from time:2026-11-20T08:00:00Z --dry-run
"""


def verbatim(text: str) -> str:
    """Return an epilog whose lines stay as they are."""
    return "\n\n".join("\b\n" + part for part in text.strip().split("\n\n"))


offsets = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show or move the group's offsets; backfill.")


def ending(work: Callable[[], None]) -> None:
    """Run a command, and end with the exit code and the words of what goes wrong."""
    try:
        work()
    except StartFailure as failure:
        sys.exit(termination.report(failure))
    except GroupInUseError as error:
        typer.echo(f"{error}", err=True)
        sys.exit(GROUP_IN_USE)


def replay_dead_letters(
    config: ConfigOption = Path(pod.SETTINGS_FILE),
    topic: Annotated[str | None, typer.Option(help="The dead letter topic; by default that of the settings.")] = None,
    error_class: Annotated[
        str | None,
        typer.Option(
            help="Only letters of this error class, such as builtins:ValueError; others come again only "
            "with --from-beginning."
        ),
    ] = None,
    at_most: Annotated[int, typer.Option(min=0, help="Letters to look at; 0 is all.")] = 0,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Earlier runs' letters again.")] = False,  # noqa: FBT002
    dry_run: DryRunOption = False,  # noqa: FBT002
) -> None:
    """Send dead letters back to the topics and partitions they came from."""
    wanted = Wanted(
        topic=topic, error_class=error_class, at_most=at_most, from_beginning=from_beginning, dry_run=dry_run
    )
    logs.configure(LogLevel.WARNING)
    ending(lambda: _replay(program.load_settings_with_secrets(config), wanted))


@offsets.command()
def show(config: ConfigOption = Path(pod.SETTINGS_FILE), topic: TopicsOption = None) -> None:
    """Say where the group stands in each partition."""
    logs.configure(LogLevel.WARNING)

    def tell() -> None:
        settings = program.load_settings_with_secrets(config)
        _table(GroupOffsets(settings.source.kafka).stands(_topics(settings, topic)))

    ending(tell)


@offsets.command(epilog=verbatim(_RESET_EXAMPLE))
def reset(
    to: Annotated[
        str, typer.Option(help="earliest, latest, offset:120, time:2026-11-20T08:00:00Z (backfill) or shift:-500.")
    ],
    config: ConfigOption = Path(pod.SETTINGS_FILE),
    topic: TopicsOption = None,
    dry_run: DryRunOption = False,  # noqa: FBT002
) -> None:
    """Move the group, while it has no active members; what lies after the new place runs again."""
    target = _target(to, "--to")
    logs.configure(LogLevel.WARNING)

    def move() -> None:
        settings = program.load_settings_with_secrets(config)
        group = GroupOffsets(settings.source.kafka)
        plan = group.plan(_topics(settings, topic), target)
        _table(plan)
        if not dry_run:
            group.move(plan)
        count = sum(each.moved is not None for each in plan)
        typer.echo(f"{count} of {len(plan)} partitions {'would be' if dry_run else 'were'} moved")

    ending(move)


@offsets.command(epilog=verbatim(_BACKFILL_EXAMPLE))
def backfill(
    begin: Annotated[str, typer.Option("--from", help="earliest, offset:120 or time:2026-11-20T08:00:00Z.")],
    end: Annotated[str, typer.Option("--to", help="latest, offset:240 or time:2026-11-20T09:00:00Z.")] = "latest",
    config: ConfigOption = Path(pod.SETTINGS_FILE),
    topic: TopicsOption = None,
    group: Annotated[
        str | None, typer.Option(help="The backfill's own group; by default the consumers' with -backfill.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where metrics are served; 0 is a free port.")] = 0,
    dry_run: DryRunOption = False,  # noqa: FBT002
) -> None:
    """Run the handler over a stretch of the topics once more, beside the running consumers, and end by itself.

    Stopped before its end, the same command goes on where it stood.
    """
    first, last = _target(begin, "--from"), _target(end, "--to")
    logs.configure(LogLevel.WARNING)

    def fill() -> None:
        stated = program.load_settings_with_secrets(config)
        settings = as_backfill(stated, group=group, topics=_topics(stated, topic), port=port)
        todo = plan(settings, first, last)
        row = "{:<30} {:>9} {:>12} {:>12} {:>10}"
        typer.echo(row.format("TOPIC", "PARTITION", "FROM", "TO", "MESSAGES"))
        for each in todo.spans:
            typer.echo(row.format(*each.place, each.begin, each.end, each.messages))
        if dry_run:
            typer.echo(f"{todo.messages} messages would be run by group {todo.group}")
            return
        left = run_backfill(config, settings, todo)
        typer.echo(f"{todo.messages - left} messages were run by group {todo.group}, {left} are left")
        if left:
            sys.exit(BACKFILL_STOPPED)

    ending(fill)


def _target(text: str, option: str) -> Target:
    try:
        return Target.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _topics(settings: RuntimeSettings, given: list[str] | None) -> list[str]:
    kafka = settings.source.kafka
    if not given and not kafka.topics:
        raise typer.BadParameter(f"is needed: the settings have a pattern, {kafka.topic_pattern}", param_hint="--topic")
    return given or list(kafka.topics)


def _table(stands: list[Stand]) -> None:
    row = "{:<30} {:>9} {:>12} {:>12} {:>12} {:>10}  {}"
    typer.echo(row.format("TOPIC", "PARTITION", "BEGINNING", "COMMITTED", "END", "BACKLOG", "MOVED TO"))
    for each in stands:
        committed = "-" if each.committed is None else each.committed
        to = "" if each.moved is None else each.moved
        typer.echo(row.format(*each.place, each.beginning, committed, each.end, each.backlog, to).rstrip())


def _replay(settings: RuntimeSettings, wanted: Wanted) -> None:
    with typer.progressbar(length=1, label="Dead letters", file=sys.stderr) as bar:

        def advance(did: Replay) -> None:
            bar.length = max(did.total, 1)
            bar.update(did.seen - bar.pos)

        did = dead_letter_replay.replay(settings, wanted, on_progress=advance)
    for (topic, error_class), count in sorted(did.replayed.items()):
        typer.echo(f"{topic}: {count} of {error_class} {'would be' if wanted.dry_run else 'were'} sent back")
    typer.echo(
        f"{did.seen} of {did.total} letters looked at, {did.passed_over} passed over, {did.unreadable} not readable,"
        f" {did.gone} whose message is gone"
    )
