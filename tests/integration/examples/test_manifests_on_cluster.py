"""A real API server accepts every example, and what `benchmarks.choose` prints for each mode, CEL rules included."""

import json
import time
from pathlib import Path

import pytest

from benchmarks.choose import manifest
from benchmarks.choose.advice import advise
from benchmarks.choose.trials import Trial, Tried
from consumer_runtime.contract.settings import Mode
from testbed import Kubernetes, TestbedError

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*/parallelconsumer.yaml"))
_SERVED_WITHIN_SECONDS = 60.0
_NOT_YET_SERVED = ("no matches for kind", "could not find the requested resource")


def accepted(control_plane: Kubernetes, file: Path) -> str:
    """Offer a manifest to the server without keeping it; retried while the definition is a moment old."""
    deadline = time.monotonic() + _SERVED_WITHIN_SECONDS
    while True:
        try:
            return str(control_plane.run_kubectl("create", "--dry-run=server", "-f", str(file)))
        except TestbedError as error:
            if not any(told in str(error) for told in _NOT_YET_SERVED) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def chosen(mode: Mode) -> dict[str, object]:
    """What is printed for a handler that is at its best in a mode."""
    trial = Tried(Trial(mode, 2 if mode is not Mode.SINGLE else 1), 100.0, 30.0, 1.0, 60.0, succeeded=9)
    advice = advise([trial], cores=2, load=0.0)
    return manifest.manifest(
        advice, name=f"x-{mode}", entrypoint="a.b:c", topic="t", group="g", image=None, ordering="key"
    )  # fmt: skip


def test_examples_and_chosen_manifests_are_accepted(control_plane: Kubernetes, tmp_path) -> None:
    """Nothing that a user is told to apply is refused."""
    definition = ROOT / "crds" / "parallelconsumers.yaml"
    control_plane.run_kubectl("apply", "--server-side", "--force-conflicts", "-f", str(definition))
    files = list(EXAMPLES)
    for mode in (Mode.SINGLE, Mode.ASYNC, Mode.THREAD, Mode.PROCESS):
        files.append(tmp_path / f"{mode}.json")
        files[-1].write_text(json.dumps(chosen(mode)))
    assert len(files) == 11
    for file in files:
        accepted(control_plane, file)
