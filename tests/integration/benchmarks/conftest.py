"""The workbench's commands as a user calls them, on the real Kafka."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import Kafka

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., "subprocess.Popen[str]"]
Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def start(kafka: Kafka) -> Start:
    """Starts `python -m benchmarks.<arguments>` in the project's folder."""

    def started(*arguments: object, folder: Path = ROOT) -> "subprocess.Popen[str]":
        environment = {**os.environ, "BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "PYTHONPATH": str(ROOT)}
        module, *others = map(str, arguments)
        command = [sys.executable, "-m", f"benchmarks.{module}", *others]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)  # type: ignore[call-overload]

    return started


@pytest.fixture
def call(start: Start) -> Call:
    """Runs the same to its end; it must end well unless `status` says otherwise."""

    def called(*arguments: object, status: int = 0, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        process = start(*arguments, folder=folder)
        out, err = process.communicate(timeout=200)
        assert process.returncode == status, out + err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return called
