"""A real Prometheus as a child process for the local mode: found on the PATH, or Debian's package.

Not the client (that is `parallel_consumer_operator.prometheus`), and not for a cluster.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from parallel_consumer_operator.errors import OperatorError

READY_SECONDS = 30.0
INSTALL = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "prometheus")


class PrometheusUnavailableError(OperatorError):
    """No Prometheus server can be started here."""


def find_or_install() -> str:
    """Return the path of a `prometheus` program, installing Debian's package where there is none.

    Raises PrometheusUnavailableError, which says what to install, when neither works.
    """
    found = shutil.which("prometheus")
    if found is None and shutil.which("apt-get") is not None:
        subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True, timeout=120)
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=300)
        found = shutil.which("prometheus")
    if found is None:
        raise PrometheusUnavailableError(
            "no program `prometheus` on the PATH: install it (Debian: apt-get install prometheus) "
            "or give the address of a running one with --prometheus-url"
        )
    return found


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PrometheusServer:
    """One Prometheus that scrapes the targets written by `set_targets`, with the labels a PodMonitor would give."""

    def __init__(self, directory: Path, *, scrape_seconds: int = 1) -> None:
        self._directory = directory
        self._scrape_seconds = scrape_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self.address = f"http://127.0.0.1:{free_port()}"

    def start(self) -> None:
        """Start the server and wait until it is ready; raises PrometheusUnavailableError with the log's end if not."""
        program = find_or_install()
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(self._configuration()))
        self.set_targets([])
        log = (self._directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={self._directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address={self.address.removeprefix('http://')}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self._wait_until_ready()

    def set_targets(self, targets: list[tuple[str, dict[str, str]]]) -> None:
        """Scrape each (`host:port`, labels) from now on; Prometheus notices the file within a second."""
        groups = [{"targets": [address], "labels": labels} for address, labels in targets]
        path = self._directory / "targets.json"
        path.with_suffix(".new").write_text(json.dumps(groups))
        path.with_suffix(".new").replace(path)

    def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _configuration(self) -> dict[str, object]:
        return {
            "global": {"scrape_interval": f"{self._scrape_seconds}s"},
            "scrape_configs": [
                {
                    "job_name": "parallel-consumers",
                    "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "1s"}],
                }
            ],
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.address}/-/ready", timeout=1):  # noqa: S310 - our own child
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.stop()
        tail = (self._directory / "prometheus.log").read_text(errors="replace")[-500:]
        raise PrometheusUnavailableError(f"prometheus was not ready within {READY_SECONDS:.0f} s: {tail}")
