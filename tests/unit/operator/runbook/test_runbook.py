import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from parallel_consumer_operator.runbook.rendering import groups, markdown
from parallel_consumer_operator.runbook.table import TABLE
from parallel_consumer_operator.tuning.decision import Gate, Rule

RESOURCE = 'namespace="shop",parallelconsumer="orders"'
POD = f'{RESOURCE},pod="orders-a"'
PARTITION = f'{POD},topic="orders",partition="3"'
WHO = {"namespace": "shop", "parallelconsumer": "orders"}
WHERE = {**WHO, "topic": "orders", "partition": "3"}

QUIET = "0x60"
"""An hour of samples, one a minute, that do not move."""

# Per alert: series while all is well, then what goes wrong from minute 10 to minute 30, then well again; its labels.
CASES: list[tuple[str, dict[str, str], dict[str, str]]] = [
    ("ConsumerBackpressure", {f"consumer_backpressure_active{{{POD}}}": "0x9 1x19 0x30"}, {**WHO, "pod": "orders-a"}),
    ("ConsumerParallelLagGrowing", {f"consumer_parallel_lag{{{PARTITION}}}": "100x9 100+10x19 290x30"}, WHERE),
    ("ConsumerGapsGrowing", {f"consumer_gap_count{{{PARTITION}}}": "1x9 1+1x19 20x30"}, WHERE),
    ("ConsumerBacklogGrowing", {f"consumer_backlog_messages{{{PARTITION}}}": "100x9 100+600x19 11500x30"}, WHERE),
    (
        "ConsumerDeadLetterFailing",
        {
            f'consumer_dead_letter_total{{{POD},outcome="failed"}}': "0x9 0+60x19 1140x30",
            f'consumer_dead_letter_total{{{POD},outcome="delivered"}}': "0+600x60",
        },
        WHO,
    ),
    (
        "ConsumerTaskOverTimeout",
        {
            f"consumer_oldest_task_duration_seconds{{{POD}}}": "1x9 31x19 1x30",
            f'consumer_knob{{{POD},knob="task_timeout_ms"}}': "30000x60",
        },
        {**WHO, "pod": "orders-a"},
    ),
    (
        "ConsumerMessagesFailing",
        {
            f'consumer_processed_total{{{PARTITION},status="dead_lettered"}}': "0x9 0+60x19 1140x30",
            f'consumer_processed_total{{{PARTITION},status="success"}}': "0+600x60",
        },
        WHO,
    ),
    (
        "ConsumerRetrying",
        {
            f'consumer_retries_total{{{POD},reason="error"}}': "0x9 0+60x19 1140x30",
            f'consumer_processed_total{{{PARTITION},status="success"}}': "0+600x60",
        },
        WHO,
    ),
    (
        "ConsumerCommitsFailing",
        {f"consumer_commit_failures_total{{{POD}}}": "0x9 0+60x19 1140x30"},
        {**WHO, "pod": "orders-a"},
    ),
    (
        "ConsumerMemoryPressure",
        {f"consumer_memory_bytes{{{POD}}}": "100x9 950x19 100x30", f"consumer_memory_limit_bytes{{{POD}}}": "1000x60"},
        {**WHO, "pod": "orders-a"},
    ),
    ("ConsumerSettingsRejected", {f"consumer_config_rejected{{{POD}}}": "0x9 1x19 0x30"}, {**WHO, "pod": "orders-a"}),
]


def run(promtool: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Prometheus' own checker."""
    return subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def rule_file(folder: Path) -> Path:
    """Write the rules of every consumer as Prometheus reads them."""
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups(runbook_url="https://runbook.example/page")}))
    return path


def test_promtool_accepts_every_rule(promtool: Path, tmp_path: Path):
    """Syntax, templates and durations are right by Prometheus' own judgement; a broken file is not accepted."""
    checked = run(promtool, "check", "rules", rule_file(tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(TABLE)} rules found" in checked.stdout
    broken = tmp_path / "broken.yaml"
    broken.write_text(rule_file(tmp_path).read_text().replace("deriv(", "driv("))
    assert run(promtool, "check", "rules", broken).returncode != 0


def moments(condition_minutes: int) -> dict[int, bool]:
    """Before, just before `for` is over, well into the fault, and long after it."""
    return {9: False, 10 + condition_minutes - 1: False, 10 + condition_minutes + 6: True, 28: True, 45: False}


@pytest.mark.parametrize(("alert", "series", "labels"), CASES, ids=[case[0] for case in CASES])
def test_an_alert_fires_for_its_fault_and_resolves(promtool: Path, tmp_path: Path, alert, series, labels):
    """Not before the fault and not before `for` is over; during it; no more when it is cured."""
    row = next(each for each in TABLE if each.id == alert)
    given = groups()[0]["rules"]
    annotations = next(rule["annotations"] for rule in given if rule["alert"] == alert)
    tests = [
        {
            "eval_time": f"{minute}m",
            "alertname": alert,
            "exp_alerts": [expected(row.severity.value, labels, annotations)] if fires else [],
        }
        for minute, fires in moments(row.minutes).items()
    ]
    case = {
        "rule_files": [str(rule_file(tmp_path))],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": tests,
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(case))
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}))
    tested = run(promtool, "test", "rules", tmp_path / "test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def expected(severity: str, labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    """Return the alert with its templates filled in."""
    filled = dict(annotations)
    for name, value in labels.items():
        filled = {key: text.replace(f"{{{{ $labels.{name} }}}}", value) for key, text in filled.items()}
    return {"exp_labels": {**labels, "severity": severity}, "exp_annotations": filled}


def test_every_alert_is_tried():
    """A row added to the table needs series that make it fire."""
    assert [case[0] for case in CASES] == [row.id for row in TABLE]


def test_rules_of_one_resource_look_at_no_other():
    """With namespace and resource given, every selector names both, escaped."""
    for rule in groups(namespace="shop", resource='a"b')[0]["rules"]:
        selectors = rule["expr"].count("{")
        assert rule["expr"].count('namespace="shop",parallelconsumer="a\\"b"') == selectors > 0


def test_the_page_has_every_row():
    """Each alert has its paragraph, with its query and what to do; links lead there."""
    page = markdown()
    for row in TABLE:
        assert f"\n## {row.id}\n" in page
        assert f"(#{row.id.lower()})" in page
        assert row.action in page
    assert "$labels" not in page


def test_every_gate_and_rule_that_reads_a_condition_of_the_documents_is_named():
    """The documents' conditions feed the tuner: their gates and rules are in the table."""
    fed = {each for row in TABLE for each in row.feeds}
    assert {Gate.FROZEN, Gate.STUCK_OFFSET, Gate.MEMORY_PRESSURE, Rule.LIMIT_BINDING, Rule.DOWNSTREAM_SATURATED} <= fed
