"""The command line: `run` the operator, try a manifest `local`ly, `replay` decisions, `generate` files."""

import asyncio
import logging
import os
import socket
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
import typer

from consumer_runtime.contract.settings import LogLevel
from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.generate import broken_promises, files
from parallel_consumer_operator.local.command import local
from parallel_consumer_operator.replay.command import replay
from parallel_consumer_operator.settings import RUNTIME_IMAGE, OperatorSettings

application = typer.Typer(
    help="The Parallel Consumer Operator.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

application.command(epilog="Example: python -m parallel_consumer_operator local -f parallelconsumer.yaml")(local)
application.command(epilog="Example: python -m parallel_consumer_operator replay decisions.jsonl")(replay)


TokenFile = Annotated[str, typer.Option(envvar="PROMETHEUS_TOKEN_FILE", help="A file with the bearer token for it.")]
AuthorityFile = Annotated[
    str, typer.Option(envvar="PROMETHEUS_CA_FILE", help="A file with the PEM certificates to trust for it.")
]
AllowedAccounts = Annotated[
    list[str] | None,
    typer.Option(help="A ServiceAccount, as namespace/name, that spec.podTemplate may name; repeat it."),
]
AllowedDrivers = Annotated[
    list[str] | None, typer.Option(help="A CSI driver whose inline volumes pods may have; repeat it.")
]
AllowedPrometheus = Annotated[
    list[str] | None,
    typer.Option(help="An address that a resource may name as its own Prometheus; repeat it. Default: any."),
]


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


@application.command()
def run(
    *,
    namespace: Annotated[list[str] | None, typer.Option(help="Namespace to watch; repeat it. Default: all.")] = None,
    watch_namespaces: Annotated[
        str, typer.Option(envvar="WATCH_NAMESPACES", help="The same as one list with commas.")
    ] = "",
    runtime_image: Annotated[
        str, typer.Option(envvar="RUNTIME_IMAGE", help="Image of consumer pods whose handler brings none.")
    ] = RUNTIME_IMAGE,
    allow_service_account: AllowedAccounts = None,
    allow_csi_driver: AllowedDrivers = None,
    prometheus_url: Annotated[
        str, typer.Option(envvar="PROMETHEUS_ADDRESS", help="Where consumers are measured; empty: nowhere.")
    ] = "",
    prometheus_token_file: TokenFile = "",
    prometheus_ca_file: AuthorityFile = "",
    allow_prometheus: AllowedPrometheus = None,
    leader_elect: Annotated[
        bool, typer.Option(envvar="LEADER_ELECTION", help="Stand by while another replica leads.")
    ] = False,
    lease_namespace: Annotated[str, typer.Option(envvar="OPERATOR_NAMESPACE", help="Where the Lease is.")] = "default",
    lease_name: Annotated[
        str, typer.Option(envvar="LEASE_NAME", help="The Lease that replicas share.")
    ] = "parallel-consumer-operator",
    identity: Annotated[str, typer.Option(envvar="POD_NAME", help="This process in the Lease and in events.")] = "",
    http_port: Annotated[
        int, typer.Option(envvar="HTTP_PORT", min=0, max=65_535, help="Metrics and health; 0 takes a free port.")
    ] = 8080,
    emergency_brake: Annotated[bool, typer.Option(envvar="TUNING_BRAKE", help="Tune nothing anywhere.")] = False,
    log_format: Annotated[LogFormat, typer.Option(envvar="LOG_FORMAT", help="How log lines look.")] = LogFormat.JSON,
    log_level: Annotated[LogLevel, typer.Option(envvar="LOG_LEVEL", help="The least important line shown.")] = (
        LogLevel.INFO
    ),
    every_decision: Annotated[
        bool,
        typer.Option(
            envvar="LOG_EVERY_DECISION", help="Log repeated holds of the tuner too, a whole journal to replay."
        ),
    ] = False,
) -> None:
    """Run the operator until SIGTERM."""
    _log_as(log_format, log_level)
    listed = [name.strip() for name in watch_namespaces.split(",") if name.strip()]
    settings = OperatorSettings(
        namespaces=tuple(sorted({*(namespace or ()), *listed})),
        runtime_image=runtime_image,
        allowed_service_accounts=frozenset(allow_service_account or ()),
        allowed_csi_drivers=frozenset(allow_csi_driver or ()),
        allowed_prometheus=frozenset(allow_prometheus or ()),
        prometheus_url=prometheus_url,
        prometheus_token_file=prometheus_token_file,
        prometheus_ca_file=prometheus_ca_file,
        leader_elect=leader_elect,
        lease_namespace=lease_namespace,
        lease_name=lease_name,
        identity=identity or f"{socket.gethostname()}-{os.getpid()}",
        http_port=http_port,
        emergency_brake=emergency_brake,
        every_decision=every_decision or log_level is LogLevel.DEBUG,
    )
    from parallel_consumer_operator.service import run as serve

    try:
        asyncio.run(serve(settings))
    except OperatorError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=1) from error


@application.command()
def generate(
    *,
    crds: Annotated[Path, typer.Option(help="Directory of the definition.")] = Path("crds"),
    check: Annotated[bool, typer.Option(help="Write nothing; fail when a file is not what would be written.")] = False,
) -> None:
    """Write the files that are made from the models."""
    stale = [path for path, text in files(crds).items() if not path.is_file() or path.read_text() != text]
    if check and stale:
        typer.echo(f"error: not up to date, run `make generate`: {', '.join(map(str, stale))}", err=True)
        raise typer.Exit(code=1)
    if check and (broken := broken_promises(crds)):
        told = "\n  ".join(broken)
        typer.echo(
            f"error: the definition takes less than the last release ({crds}/released) took:\n  {told}", err=True
        )
        raise typer.Exit(code=1)
    for path in stale:
        path.write_text(files(crds)[path])
        typer.echo(path)


def _log_as(log_format: LogFormat, level: LogLevel) -> None:
    """Send our own lines and the libraries' through one renderer, to standard error."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format is LogFormat.JSON else structlog.dev.ConsoleRenderer()
    )
    steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=steps
        )
    )
    logging.basicConfig(handlers=[handler], level=level.value, force=True)
    # kopf narrates every object at INFO under this name.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


if __name__ == "__main__":
    application()
