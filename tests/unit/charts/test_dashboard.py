"""The dashboard asks for metrics that exist, shows the runbook's limits, and lies without overlaps."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer_runtime.contract.metrics import CATALOGUE, Kind
from parallel_consumer_operator.exposition import OperatorMetrics
from parallel_consumer_operator.runbook.table import FAILED_SHARE
from parallel_consumer_operator.tuning.gates import MEMORY_PRESSURE

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "charts" / "parallel-consumer-operator" / "dashboards" / "parallel-consumers.json"


@pytest.fixture
def dashboard() -> dict[str, Any]:
    """The generated file."""
    loaded: dict[str, Any] = json.loads(FILE.read_text())
    return loaded


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Return every query, the annotations' too."""
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*asked, *(each["expr"] for each in dashboard["annotations"]["list"])]


def test_every_metric_is_exported(dashboard: dict[str, Any]):
    """By the runtime's catalogue, or by the operator."""
    exported = {metric.name for metric in CATALOGUE}
    exported |= {f"{metric.name}_bucket" for metric in CATALOGUE if metric.kind is Kind.HISTOGRAM}
    own = {sample.name for family in OperatorMetrics().registry.collect() for sample in family.samples}
    own |= {f"{family.name}_total" for family in OperatorMetrics().registry.collect()}
    asked = {name for text in expressions(dashboard) for name in re.findall(r"\b(?:consumer|pcon)_[a-z_0-9]+", text)}
    assert asked
    assert asked <= exported | own


def test_what_people_look_for_is_there(dashboard: dict[str, Any]):
    """Backlog, rate, service time, knobs, decisions; tuning steps as annotations; the runbook's limits as lines."""
    titles = " ".join(panel["title"] for panel in dashboard["panels"])
    for word in ("Backlog", "Rate", "service time", "Knobs", "Decisions"):
        assert word in titles
    assert [each["name"] for each in dashboard["annotations"]["list"]] == ["Tuning steps"]
    steps = [step for panel in dashboard["panels"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert {step["value"] for step in steps} == {None, FAILED_SHARE, MEMORY_PRESSURE}


def test_panels_have_their_own_place(dashboard: dict[str, Any]):
    """No id twice, no two panels over each other, all within Grafana's 24 columns."""
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for first, second in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart = first["x"] + first["w"] <= second["x"] or second["x"] + second["w"] <= first["x"]
        assert apart or first["y"] + first["h"] <= second["y"] or second["y"] + second["h"] <= first["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_prometheus_takes_every_query(dashboard: dict[str, Any], promtool: Path, tmp_path: Path):
    """With Grafana's variables filled in, promtool finds no fault."""
    filled = [text.replace("$__rate_interval", "1m").replace("$", "") for text in expressions(dashboard)]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(filled)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run([str(promtool), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_file_is_what_the_catalogue_makes():
    """A renamed metric without `make generate` is noticed."""
    checked = subprocess.run(
        [sys.executable, "charts/generate.py", "--check"], cwd=ROOT, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr.decode()[:2_000]
