"""The manifests of the documents: each can be carried out as it stands."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_consumer_operator.desired.effective import resolve
from parallel_consumer_operator.desired.objects import objects
from parallel_consumer_operator.desired.overlay import cpu_limit
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.desired.restart import Build
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

PAGE = Path(__file__).resolve().parents[3] / "docs" / "manifests.md"
BLOCKS = [part.partition("```")[0] for part in PAGE.read_text().split("```yaml\n")[1:]]
MANIFESTS: list[dict[str, Any]] = [yaml.safe_load(block) for block in BLOCKS]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=range(len(MANIFESTS)))
def test_a_documented_manifest_can_be_carried_out(manifest: dict[str, Any]) -> None:
    """It parses, its settings are valid as a whole, and objects come of it."""
    spec = ParallelConsumerSpec.parse(manifest)
    effective = resolve(spec, tuned={}, cpu_limit=cpu_limit(spec.pod_template))
    wanted = objects(Owner("shop", manifest["metadata"]["name"], "1"), spec, effective, Build("runtime:1")).wanted
    assert {"Deployment", "StatefulSet"} & {each["kind"] for each in wanted}


def test_the_page_has_its_blocks() -> None:
    """A page that lost its fences would pass the other test by having nothing to try."""
    assert len(MANIFESTS) >= 7
