"""The command line: `run` the operator, `generate` the files that are made from the models."""

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

from parallel_consumer_operator.errors import OperatorError
from parallel_consumer_operator.generate import write_definition
from parallel_consumer_operator.settings import RUNTIME_IMAGE, OperatorSettings

application = typer.Typer(help="The Parallel Consumer Operator.", no_args_is_help=True, add_completion=False)


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


@application.command()
def run(
    *,
    namespace: Annotated[list[str] | None, typer.Option(help="Namespace to watch; repeat it. Default: all.")] = None,
    runtime_image: Annotated[
        str, typer.Option(envvar="RUNTIME_IMAGE", help="Image of the consumer pods.")
    ] = RUNTIME_IMAGE,
    prometheus_url: Annotated[str, typer.Option(envvar="PROMETHEUS_URL", help="Where consumers are measured.")] = "",
    leader_elect: Annotated[bool, typer.Option(help="Stand by while another replica leads.")] = False,
    lease_namespace: Annotated[str, typer.Option(envvar="POD_NAMESPACE", help="Namespace of the Lease.")] = "default",
    http_port: Annotated[int, typer.Option(help="Port of metrics and liveness; 0 takes a free one.")] = 8081,
    emergency_brake: Annotated[bool, typer.Option(help="Tune nothing anywhere.")] = False,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines look.")] = LogFormat.JSON,
) -> None:
    """Run the operator until SIGTERM."""
    _log_as(log_format)
    settings = OperatorSettings(
        namespaces=tuple(namespace or ()),
        runtime_image=runtime_image,
        prometheus_url=prometheus_url,
        leader_elect=leader_elect,
        lease_namespace=lease_namespace,
        identity=os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
        http_port=http_port,
        emergency_brake=emergency_brake,
    )
    from parallel_consumer_operator.service import run as serve

    try:
        asyncio.run(serve(settings))
    except OperatorError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=1) from error


@application.command()
def generate(
    crds: Annotated[Path, typer.Option(help="Directory of the definition.")] = Path("crds"),
) -> None:
    """Write the files that are made from the models."""
    typer.echo(write_definition(crds))


def _log_as(log_format: LogFormat) -> None:
    """Send our own lines and the libraries' through one renderer, to standard error."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format is LogFormat.JSON else structlog.dev.ConsoleRenderer()
    )
    steps: list[structlog.typing.Processor] = [
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
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # kopf narrates every object at INFO under this name.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


if __name__ == "__main__":
    application()
