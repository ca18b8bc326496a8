"""The Grafana dashboard of the consumers: its metrics from the catalogue, its limits from the runbook's table.

`generate.py` writes it into the chart. How it looks is written here, what the metrics mean is not.
"""

import json
from typing import Any

from consumer_runtime.contract import metrics
from consumer_runtime.contract.metrics import Metric
from parallel_consumer_operator.exposition import DECISIONS
from parallel_consumer_operator.resource.names import METRIC_LABEL
from parallel_consumer_operator.runbook.table import FAILED_SHARE
from parallel_consumer_operator.tuning.gates import MEMORY_PRESSURE

WHICH = f'namespace=~"$namespace",{METRIC_LABEL}=~"$consumer"'
WHO = f"namespace, {METRIC_LABEL}"
LEGEND = f"{{{{namespace}}}}/{{{{{METRIC_LABEL}}}}}"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _WIDTH, _HEIGHT = 2, 12, 8


def dashboard() -> str:
    """Return the dashboard as JSON."""
    panels = [_placed(panel, number) for number, panel in enumerate(_panels())]
    found = {
        "uid": "parallel-consumers",
        "title": "Parallel consumers",
        "tags": ["kafka", "parallel-consumer-operator"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": [_steps()]},
        "panels": panels,
    }
    return json.dumps(found, indent=2) + "\n"


def _panels() -> list[dict[str, Any]]:
    backlog = f"sum by ({WHO}) (max by ({WHO}, topic, partition) ({_of(metrics.BACKLOG)}))"
    memory = f"max by ({WHO}, pod) ({_of(metrics.MEMORY)} / ({_of(metrics.MEMORY_LIMIT)} > 0))"
    failed = f'status!="{metrics.Status.SUCCESS}"'
    done = _rate(metrics.PROCESSED)
    return [
        _panel("Backlog", "short", {LEGEND: backlog}),
        _panel("Rate", "ops", {f"{LEGEND} {{{{status}}}}": _rate(metrics.PROCESSED, by=f"{WHO}, status")}),
        _panel(
            "Handler's service time",
            "s",
            {f"p50 {LEGEND}": _quantile(0.5), f"p99 {LEGEND}": _quantile(0.99)},
        ),
        _panel(
            "Knobs (lines mark tuning steps)",
            "short",
            {f"{LEGEND} {{{{knob}}}}": f"max by ({WHO}, knob) ({_of(metrics.KNOB)})"},
        ),
        _panel("In flight, of all pods", "short", {LEGEND: f"sum by ({WHO}) ({_of(metrics.IN_FLIGHT)})"}),
        _panel(
            "Decisions of the tuner",
            "short",
            {"{{phase}} {{reason}}": f"sum by (phase, reason) (increase({DECISIONS.name}[$__rate_interval]))"},
        ),
        _panel(
            "Messages that fail for good",
            "percentunit",
            {LEGEND: f"{_rate(metrics.PROCESSED, extra=failed)} / {done}"},
            limit=FAILED_SHARE,
        ),
        _panel(
            "Memory, of its limit",
            "percentunit",
            {f"{LEGEND} {{{{pod}}}}": memory},
            limit=MEMORY_PRESSURE,
        ),
    ]


def _panel(title: str, unit: str, queries: dict[str, str], *, limit: float | None = None) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    custom: dict[str, Any] = {"fillOpacity": 5}
    if limit is not None:
        steps.append({"color": "red", "value": limit})
        custom["thresholdsStyle"] = {"mode": "line"}
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for number, (legend, query) in enumerate(queries.items())
    ]
    defaults = {"unit": unit, "min": 0, "custom": custom, "thresholds": {"mode": "absolute", "steps": steps}}
    return {
        "title": title,
        "type": "timeseries",
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


def _placed(panel: dict[str, Any], number: int) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    where = {"h": _HEIGHT, "w": _WIDTH, "x": column * _WIDTH, "y": row * _HEIGHT}
    return {"id": number + 1, "gridPos": where, **panel}


def _variables() -> list[dict[str, Any]]:
    namespace = f"label_values({metrics.KNOB.name}, namespace)"
    consumer = f'label_values({metrics.KNOB.name}{{namespace=~"$namespace"}}, {METRIC_LABEL})'
    several = {"type": "query", "datasource": _SOURCE, "refresh": 2, "multi": True, "includeAll": True}
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {"name": "namespace", "query": namespace, **several},
        {"name": "consumer", "query": consumer, **several},
    ]


def _steps() -> dict[str, Any]:
    """A knob that changed is a step of the tuner, or an edit of the spec."""
    return {
        "name": "Tuning steps",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "orange",
        "expr": f"changes(max by ({WHO}, knob) ({_of(metrics.KNOB)})[2m:15s]) > 0",
        "step": "30s",
        "titleFormat": f"{{{{{METRIC_LABEL}}}}}",
        "textFormat": "{{knob}}",
    }


def _of(metric: Metric, extra: str = "") -> str:
    return f"{metric.name}{{{','.join(filter(None, (WHICH, extra)))}}}"


def _rate(metric: Metric, *, by: str = WHO, extra: str = "") -> str:
    return f"sum by ({by}) (rate({_of(metric, extra)}[$__rate_interval]))"


def _quantile(share: float) -> str:
    buckets = f"{metrics.HANDLER_SECONDS.name}_bucket{{{WHICH}}}"
    return f"histogram_quantile({share}, sum by ({WHO}, le) (rate({buckets}[$__rate_interval])))"
