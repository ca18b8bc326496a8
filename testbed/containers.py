"""Talking to the instance's containerd through `ctr`: does it answer, which images, end all pods. Not for building."""

import subprocess
from pathlib import Path

from testbed import state
from testbed.errors import NotRunningError, TestbedError
from testbed.layout import Instance, Part

IMPORT_SECONDS = 120.0


def socket(instance: Instance) -> Path:
    """Where containerd listens."""
    return state.folder(instance, Part.KUBERNETES) / "containerd.sock"


def answers(instance: Instance) -> bool:
    """Whether containerd answers."""
    return socket(instance).exists() and _ctr(instance, "version", seconds=5.0).returncode == 0


def images(instance: Instance) -> set[str]:
    """Names of the images that pods can use."""
    return set(_ctr(instance, "images", "list", "--quiet").stdout.split())


def import_image(instance: Instance, archive: Path) -> None:
    """Import an OCI archive, for pods to use.

    Raises:
        NotRunningError: containerd is down.
        TestbedError: it refused the archive.
    """
    if not answers(instance):
        msg = "the testbed's node is down; run `python -m testbed up kubernetes`"
        raise NotRunningError(msg)
    done = _ctr(instance, "images", "import", str(archive), seconds=IMPORT_SECONDS)
    if done.returncode != 0:
        msg = f"containerd refused {archive}: {done.stderr.strip()}"
        raise TestbedError(msg)


def end_all(instance: Instance) -> None:
    """End every container and its shim, whatever kubelet thinks of it; kubelet must be down, or it starts them anew."""
    if not answers(instance):
        return
    tasks = _ctr(instance, "tasks", "list", "--quiet").stdout.split()
    if tasks:
        _ctr(instance, "tasks", "delete", "--force", *tasks, seconds=60.0)
    left = _ctr(instance, "containers", "list", "--quiet").stdout.split()
    if left:
        _ctr(instance, "containers", "delete", *left, seconds=60.0)


def _ctr(instance: Instance, *argv: str, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
    command = ["ctr", "--address", str(socket(instance)), "--namespace", "k8s.io", *argv]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 124, "", f"no answer in {seconds} s: {error}")
