"""Prometheus on this machine without Kubernetes: scrapes what a file lists, or serves tests that need only queries.

It is a child of whoever starts it, ends with the `with` block, and is no part of `up` and `down`.
"""

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from testbed import ports, programs, readiness
from testbed.errors import NotReadyError
from testbed.layout import Instance, Port
from testbed.programs import Program

LOOPBACK = "127.0.0.1"
READY_SECONDS = 30.0


class HostPrometheus:
    """A running Prometheus. `targets` is a file as file_sd reads it, JSON or YAML; a change is noticed."""

    def __init__(
        self, targets: Path, *, scrape_interval: str = "1s", rules: Path | None = None, instance: Instance | None = None
    ) -> None:
        self._instance = instance or Instance()
        self._folder = tempfile.TemporaryDirectory(prefix="testbed-prometheus-")
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._config = {
            "global": {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [{"job_name": "targets", "file_sd_configs": [{"files": [str(targets)]}]}],
        }

    @property
    def url(self) -> str:
        """Base address, on loopback."""
        return f"http://{LOOPBACK}:{self._port}"

    def __enter__(self) -> Self:
        """Start it and wait until it is ready.

        Raises:
            NotReadyError: it did not come up; with the end of its log.
        """
        folder = Path(self._folder.name)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(self._config))
        self._port = ports.choose(self._instance, Port.HOST_PROMETHEUS, LOOPBACK)
        command = [
            str(programs.path(Program.PROMETHEUS)),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self._port}",
        ]
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            readiness.wait("Prometheus", self._is_ready, seconds=READY_SECONDS)
        except NotReadyError as error:
            log_text = (folder / "prometheus.log").read_text(errors="replace")[-1500:]
            self.__exit__(None, None, None)
            raise NotReadyError(f"{error} The end of its log:\n{log_text}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it and delete its data."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def _is_ready(self) -> bool:
        return readiness.fetch(f"{LOOPBACK}:{self._port}", "/-/ready") is not None
