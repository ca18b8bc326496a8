"""`python -m testbed`: the testbed as commands. What they do is in parts.py; here it is only asked for and shown."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from testbed import artifacts, images, parts, processes, programs, state
from testbed.artifacts import ARTIFACTS, Name
from testbed.cluster import Kubernetes
from testbed.errors import TestbedError
from testbed.kafka import Kafka
from testbed.layout import LAST_INSTANCE, Instance, Part, Port, instance_number
from testbed.monitoring import Prometheus
from testbed.parts import Condition, Options, PartStatus
from testbed.programs import Program
from testbed.progress import Progress, in_words

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The real parts on one machine.")
console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
COLOURS = {Condition.UP: "green", Condition.DEGRADED: "yellow", Condition.DOWN: "dim"}
# Which recorded addresses a process listens on.
LISTENERS = {
    "kafka": ("bootstrap_servers", "pod_bootstrap_servers"),
    "etcd": ("etcd",),
    "kube-apiserver": ("server",),
    "kube-controller-manager": ("controller_manager",),
    "kube-scheduler": ("scheduler",),
    "prometheus": ("prometheus",),
    "alertmanager": ("alertmanager",),
    "prometheus-operator": ("operator",),
}
IMAGES = {"runtime": "localhost/parallel-consumer-runtime:dev", "operator": "localhost/parallel-consumer-operator:dev"}


class Selection(StrEnum):
    """A part, or all of them."""

    KAFKA = "kafka"
    KUBERNETES = "kubernetes"
    PROMETHEUS = "prometheus"
    ALL = "all"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that are meant."""
        return tuple(Part) if self is Selection.ALL else (Part(self.value),)


PartArgument = Annotated[Selection, typer.Argument(help="which part")]
InstanceOption = Annotated[
    int | None, typer.Option("--instance", min=0, max=LAST_INSTANCE, help="which testbed, when several run")
]


@app.command()
def up(
    part: PartArgument = Selection.ALL,
    *,
    instance: InstanceOption = None,
    control_plane_only: Annotated[bool, typer.Option(help="no node: for what needs no pods")] = False,
    scrape_interval: Annotated[str | None, typer.Option(help="of Prometheus, as 1s; 5s at first")] = None,
    port: Annotated[list[str] | None, typer.Option(help="preferred port, as kafka=29092; repeat")] = None,
) -> None:
    """Build what is missing and bring parts up; what is up stays as it is."""
    with _plain_errors():
        where = Instance(_number(instance), ports=_ports(port or []))
        options = Options(control_plane_only=control_plane_only, scrape_interval=scrape_interval)
        parts.up(*part.parts, instance=where, options=options, progress=Progress())
        _show(where)


@app.command()
def down(part: PartArgument = Selection.ALL, instance: InstanceOption = None) -> None:
    """Take parts down and leave nothing of them, also after a crash."""
    with _plain_errors():
        parts.down(*part.parts, instance=Instance(_number(instance)), progress=Progress())


@app.command()
def status(
    *,
    instance: InstanceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show what runs, where, since when, and what it takes."""
    with _plain_errors():
        where = Instance(_number(instance))
        if as_json:
            console.print_json(json.dumps({found.part: _as_json(found) for found in parts.status(where)}))
        else:
            _show(where)


@app.command()
def logs(
    part: PartArgument = Selection.ALL,
    *,
    instance: InstanceOption = None,
    process: Annotated[str | None, typer.Option(help="only this process, as kubelet")] = None,
    lines: Annotated[int, typer.Option(min=1, help="the last so many of each")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until interrupted")] = False,
) -> None:
    """Show the ends of the logs."""
    with _plain_errors():
        files = list(_log_files(part, Instance(_number(instance)), process))
        if not files:
            raise TestbedError(f"no logs of {process or part}; `python -m testbed status` shows what runs")
        if follow:
            subprocess.run(["tail", "-n", str(lines), "-F", *map(str, files)], check=False)
            return
        for file in files:
            console.print(f"[bold]{file}[/]")
            sys.stdout.write(f"{processes.tail(file, lines)}\n")


@app.command()
def build(part: PartArgument = Selection.ALL, instance: InstanceOption = None) -> None:
    """Build what is missing and start nothing; `all` includes helm, helm-unittest and the base image."""
    with _plain_errors():
        where, telling = Instance(_number(instance)), Progress()
        if part is Selection.ALL:
            artifacts.ensure(list(Name), where.cache, telling)
        parts.build(*part.parts, instance=where, progress=telling)
        for name in Name:
            if ARTIFACTS[name].is_built(where.cache):
                console.print(f"{ARTIFACTS[name].folder(where.cache)}")


@app.command()
def image(
    target: Annotated[str, typer.Argument(help="a stage of the Dockerfile, or all: runtime and operator")] = "all",
    tag: Annotated[str | None, typer.Option(help="full name; default localhost/parallel-consumer-<target>:dev")] = None,
    instance: InstanceOption = None,
) -> None:
    """Build stages of the project's Dockerfile and load them into the node, if there is one."""
    with _plain_errors():
        where, telling = Instance(_number(instance)), Progress()
        for stage in IMAGES if target == "all" else (target,):
            name = tag or IMAGES.get(stage, f"localhost/parallel-consumer-{stage}:dev")
            if Kubernetes(where).is_up():
                Kubernetes(where).build_image(stage, name, telling)
            else:
                images.build(stage, name, cache=where.cache, progress=telling)
            console.print(name)


@app.command()
def env(instance: InstanceOption = None) -> None:
    """Print what a shell needs, for `eval "$(python -m testbed env)"`."""
    with _plain_errors():
        where = Instance(_number(instance))
        for name, value in _environment(where).items():
            sys.stdout.write(f"export {name}={value}\n")


@app.command()
def program(name: Annotated[Program, typer.Argument(help="which program")]) -> None:
    """Print the path of a program, building or installing it if need be."""
    with _plain_errors():
        sys.stdout.write(f"{programs.path(name, Progress())}\n")


def _show(instance: Instance) -> None:
    table = Table(title=f"testbed {instance.number}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("part", "state", "since", "memory", "address"):
        table.add_column(heading, no_wrap=True)
    for found in parts.status(instance):
        for row in _rows(found):
            table.add_row(*row)
    console.print(table)


def _rows(found: PartStatus) -> Iterator[tuple[str, ...]]:
    """A line for the part, then one for each of its processes with its pid."""
    since = in_words((datetime.now(UTC) - found.since).total_seconds()) if found.since else ""
    memory = sum(process.resident_bytes for process in found.processes)
    condition = f"[{COLOURS[found.condition]}]{found.condition}[/]"
    yield (f"[bold]{found.part}[/]", condition, since, _mebibytes(memory), "")
    for process in found.processes:
        addresses = [found.addresses[name] for name in LISTENERS.get(process.name, ()) if name in found.addresses]
        pid = f"pid {process.pid}" if process.pid is not None else "[red]ended[/]"
        yield (f"  {process.name}", pid, "", _mebibytes(process.resident_bytes), "\n".join(addresses))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB" if size else ""


def _as_json(found: PartStatus) -> dict[str, object]:
    return {
        "state": found.condition,
        "since": found.since.isoformat() if found.since else None,
        "processes": {
            process.name: {"pid": process.pid, "resident_bytes": process.resident_bytes} for process in found.processes
        },
        "addresses": dict(found.addresses),
    }


def _log_files(part: Selection, instance: Instance, process: str | None) -> Iterator[Path]:
    for one in part.parts:
        for file in sorted((state.folder(instance, one) / "logs").glob("*.log")):
            if process in {None, file.stem}:
                yield file


def _environment(instance: Instance) -> dict[str, str]:
    found = {one.part: one for one in parts.status(instance)}
    exported: dict[str, str] = {}
    if found[Part.KUBERNETES].condition is not Condition.DOWN:
        environment = Kubernetes(instance).environment
        exported |= {"KUBECONFIG": environment["KUBECONFIG"], "PATH": environment["PATH"]}
    if found[Part.KAFKA].condition is not Condition.DOWN:
        exported["BOOTSTRAP_SERVERS"] = Kafka(instance).bootstrap_servers
    if found[Part.PROMETHEUS].condition is not Condition.DOWN:
        exported["PROMETHEUS_URL"] = Prometheus(instance).url
    return exported


def _number(given: int | None) -> int:
    return instance_number() if given is None else given


def _ports(given: list[str]) -> dict[Port, int]:
    try:
        return {Port(name): int(number) for name, _, number in (text.partition("=") for text in given)}
    except ValueError as error:
        allowed = ", ".join(Port)
        raise TestbedError(f"--port {' '.join(given)}: {error}; write name=number, the names are {allowed}") from error


@contextmanager
def _plain_errors() -> Iterator[None]:
    """A user reads what is wrong and what to do, not a traceback."""
    try:
        yield
    except (TestbedError, ValueError) as error:
        Console(stderr=True, highlight=False).print(f"[red]testbed:[/] {error}")
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
