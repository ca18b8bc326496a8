"""The operator's own alerts, as the chart makes them: Prometheus' judgement of each, by made series."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_consumer_operator.exposition import OperatorMetrics

CHART = Path(__file__).resolve().parents[3] / "charts" / "parallel-consumer-operator"
JOB = 'job="sys/pco-parallel-consumer-operator"'
OTHER = 'job="other/pco-parallel-consumer-operator"'
"""Another release's, which is always well."""
BUCKETS = ("5.0", "7.5", "10.0", "+Inf")
# Series by alert, a value a minute: well for ten minutes, the fault for twenty, then well again.
CASES: dict[str, dict[str, str]] = {
    "ParallelConsumerOperatorDown": {f"up{{{JOB}}}": "1x9 0x19 1x40", f"up{{{OTHER}}}": "1x70"},
    "ParallelConsumerOperatorNoLeader": {
        f'pcon_operator_leader{{{JOB}, pod="a"}}': "1x9 0x19 1x40",
        f'pcon_operator_leader{{{JOB}, pod="b"}}': "0x70",
        f"pcon_operator_leader{{{OTHER}}}": "1x70",
    },
    "ParallelConsumerOperatorWatchDead": {
        f'pcon_operator_watch_silent_seconds{{{JOB}, pod="a"}}': "30x9 150x19 30x40",
        f'pcon_operator_watch_silent_seconds{{{JOB}, pod="b"}}': "0x70",
    },
    "ParallelConsumerOperatorReconcileErrors": {
        f'pcon_operator_reconciles_total{{{JOB}, outcome="failed"}}': "0x9 0+1x19 19x40",
        f'pcon_operator_reconciles_total{{{JOB}, outcome="done"}}': "0+10x70",
    },
    "ParallelConsumerOperatorTuningSlow": {
        f'pcon_operator_tune_cycle_seconds_bucket{{{JOB}, le="{bound}"}}': (
            "0+4x9 40x19 40+4x40" if bound == "5.0" else "0+4x70"
        )
        for bound in BUCKETS
    },
}


@pytest.fixture(scope="module")
def rules(helm: Path) -> list[dict[str, Any]]:
    """The rules of a release `pco` in the namespace `sys`."""
    rendered = subprocess.run(
        [str(helm), "template", "pco", str(CHART), "--namespace=sys", "--set=metrics.prometheusRule.enabled=true",
         "--kube-version=1.34", "--show-only=templates/prometheusrule.yaml"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found: list[dict[str, Any]] = yaml.safe_load(rendered.stdout)["spec"]["groups"][0]["rules"]
    return found


def judged(promtool: Path, *arguments: object) -> str:
    """Return what promtool complains of; empty when it is content."""
    done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_every_alert_is_tried(rules: list[dict[str, Any]]) -> None:
    """A rule added to the chart needs series that make it fire."""
    assert [rule["alert"] for rule in rules] == list(CASES)


def test_every_metric_in_the_alerts_is_exported() -> None:
    """Series are made up here; their names are the operator's own."""
    exported = {name for family in OperatorMetrics().registry.collect() for name in _names(family.name, family.type)}
    named = {series.split("{")[0] for series_of in CASES.values() for series in series_of}
    assert named - exported == {"up"}


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_for_its_fault_and_resolves(
    rules: list[dict[str, Any]], alert: str, promtool: Path, tmp_path: Path
) -> None:
    """Not before the fault, during it once `for` is over, no more after it; figures of another release do not count."""
    (rule,) = [each for each in rules if each["alert"] == alert]
    minutes = int(rule["for"].removesuffix("m"))
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "operator", "rules": rules}]}))
    firing = [{"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}]
    moments = {9: [], 10 + minutes - 1: [], 29: firing, 65: []}
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in CASES[alert].items()],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": told} for minute, told in moments.items()
        ],
    }
    suite = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(suite))
    assert judged(promtool, "check", "rules", tmp_path / "rules.yaml") == ""
    assert judged(promtool, "test", "rules", tmp_path / "test.yaml") == ""


def _names(name: str, kind: str) -> set[str]:
    return {"counter": {f"{name}_total"}, "histogram": {f"{name}_bucket"}}.get(kind, {name})
