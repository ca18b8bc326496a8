"""Starts a real Prometheus on a free port, and waits for it. Not a test."""

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from made_pods import MadePod

from testbed import programs
from testbed.programs import Program

NAMESPACE = 'sh"op\\1'
"""Not a namespace that Kubernetes allows: what has to be escaped is here."""
WINDOW = 6
LONG_WINDOW = 12


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_prometheus(
    folder: Path, pods: dict[str, list[MadePod]], *options: str
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server that scrapes every second; pods by resource."""
    port = free_port()
    groups = [
        {"targets": [pod.address], "labels": {"namespace": NAMESPACE, "parallelconsumer": resource, "pod": pod.name}}
        for resource, members in pods.items()
        for pod in members
    ]
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "pods", "static_configs": groups}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    log = (folder / "log").open("wb")
    program = str(programs.path(Program.PROMETHEUS))
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", *options]
    return subprocess.Popen(command, stdout=log, stderr=log), f"127.0.0.1:{port}"


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a condition holds; fail the test after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.2)
    pytest.fail(f"{what} not within {seconds} s")


def is_ready(address: str) -> bool:
    """Whether the server answers queries."""
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=1):
            return True
    except OSError:
        return False


def is_full(address: str) -> bool:
    """Whether every series has as many samples in the long window as it can have, but one."""
    query = urllib.parse.quote(f"min(count_over_time(consumer_config_generation[{LONG_WINDOW}s]))")
    with urllib.request.urlopen(f"http://{address}/api/v1/query?query={query}", timeout=5) as answer:
        result = json.load(answer)["data"]["result"]
    return bool(result) and float(result[0]["value"][1]) >= LONG_WINDOW - 1
