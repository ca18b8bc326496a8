"""The operator installed by helm on the testbed's cluster, and the example running and tuned: once for all."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed import installation
from testbed.installation import NAMESPACE, OPERATOR_NAMESPACE, Place
from testbed.progress import Progress

# `pulse` is beside this file.
sys.path.append(str(Path(__file__).parent))


@dataclass(frozen=True)
class Demo:
    """A finished run of the demo; the operator and the consumer are still there."""

    place: Place
    figures: dict[str, Any]
    printed: str

    def kubectl(self, *arguments: str, namespace: str = NAMESPACE, stdin: str | None = None) -> str:
        """Return what kubectl printed."""
        return self.place.run(self.place.kubectl, "-n", namespace, *arguments, stdin=stdin)

    def pods(self, selector: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
        """Return pods by label."""
        found: list[dict[str, Any]] = json.loads(
            self.kubectl("get", "pods", "-l", selector, "-o", "json", namespace=namespace)
        )["items"]
        return found

    def operator_pod(self) -> dict[str, Any]:
        """Return the operator's one pod."""
        (pod,) = self.pods("app.kubernetes.io/name=parallel-consumer-operator", OPERATOR_NAMESPACE)
        return pod


@pytest.fixture(scope="session")
def demo(
    kubernetes: object, kafka: object, prometheus: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demo]:
    """Run `python -m testbed.demo` as a user would, with most of its messages; uninstall everything afterwards."""
    output = tmp_path_factory.mktemp("demo") / "demo-cluster.json"
    run = subprocess.run(
        [sys.executable, "-m", "testbed.demo", "--messages", "160000", "--output", str(output)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    place = installation.on_testbed(Progress())
    printed = run.stdout + run.stderr
    assert run.returncode == 0, printed
    yield Demo(place, json.loads(output.read_text()), printed)
    installation.uninstall(place)
    place.run(place.kubectl, "delete", "namespace", NAMESPACE, OPERATOR_NAMESPACE, "--ignore-not-found", "--wait=true")
