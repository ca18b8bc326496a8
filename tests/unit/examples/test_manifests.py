"""Examples are what people copy: each must be valid, complete, and the code in it the code beside it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer_runtime.contract.settings import Mode
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec
from parallel_consumer_operator.resource.tuning import TuningMode

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir() and folder.name != "__pycache__")


def documents(example: str) -> dict[str, dict[str, Any]]:
    """The documents of an example's manifest by kind."""
    text = (EXAMPLES / example / "parallelconsumer.yaml").read_text()
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def spec(example: str) -> ParallelConsumerSpec:
    """The example's ParallelConsumer."""
    return ParallelConsumerSpec.parse(documents(example)["ParallelConsumer"])


@pytest.mark.parametrize("example", NAMES)
def test_an_example_has_all_its_files(example: str) -> None:
    """Handler, manifest and README stand in each example's folder."""
    present = {file.name for file in (EXAMPLES / example).iterdir()}
    assert present >= {"handler.py", "parallelconsumer.yaml", "README.md"}


@pytest.mark.parametrize("example", NAMES)
def test_manifest_is_valid_and_complete(example: str) -> None:
    """The spec is accepted, and the ConfigMap that it names is in the same file."""
    reference = spec(example).handler.source_config_map_ref
    assert reference is not None
    assert documents(example)["ConfigMap"]["metadata"]["name"] == reference.name


@pytest.mark.parametrize("example", NAMES)
def test_code_in_the_manifest_is_the_code_beside_it(example: str) -> None:
    """Each file in the ConfigMap reads as the file of that name, and the entry point is in one of them."""
    files = documents(example)["ConfigMap"]["data"]
    assert files == {name: (EXAMPLES / example / name).read_text() for name in files}
    module, _, function = spec(example).handler.entrypoint.partition(":")
    assert f"def {function}(" in files[f"{module}.py"]


def test_short_io_begins_small_and_is_tuned() -> None:
    """The demo's point: an async handler, 16 in flight to begin with, and a tuner that may raise it."""
    found = spec("short-io-async")
    assert (found.execution.mode, found.execution.max_in_flight) == (Mode.ASYNC, 16)
    assert found.tuning.mode is TuningMode.AUTO
