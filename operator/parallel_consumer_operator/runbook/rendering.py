"""The runbook's table as a PrometheusRule's groups and as a page. Pure; the table itself is `table.py`."""

from typing import Any

from parallel_consumer_operator.resource.names import METRIC_LABEL
from parallel_consumer_operator.runbook.table import TABLE, Condition
from parallel_consumer_operator.tuning.queries import NAMESPACE_LABEL, escape

GROUP_NAME = "parallel-consumer"
PAGE = "runbook.md"
"""Under docs/."""


def groups(*, namespace: str | None = None, resource: str | None = None, runbook_url: str = "") -> list[dict[str, Any]]:
    """Return the `spec.groups` of a PrometheusRule.

    Args:
        namespace: watch only this namespace's consumers.
        resource: watch only this ParallelConsumer; needs a namespace.
        runbook_url: address of the page that `markdown` makes; each alert links to its paragraph.
    """
    matchers = _matchers(namespace, resource)
    return [{"name": GROUP_NAME, "rules": [_alert(condition, matchers, runbook_url) for condition in TABLE]}]


def _alert(condition: Condition, matchers: str, runbook_url: str) -> dict[str, Any]:
    annotations = {"summary": condition.summary, "description": condition.action}
    if runbook_url:
        annotations["runbook_url"] = f"{runbook_url}#{condition.id.lower()}"
    return {
        "alert": condition.id,
        "expr": condition.expression(matchers),
        "for": f"{condition.minutes}m",
        "labels": {"severity": condition.severity.value},
        "annotations": annotations,
    }


def _matchers(namespace: str | None, resource: str | None) -> str:
    which = f'{METRIC_LABEL}!=""' if resource is None else f'{METRIC_LABEL}="{escape(resource)}"'
    return f"{{{which}}}" if namespace is None else f'{{{NAMESPACE_LABEL}="{escape(namespace)}",{which}}}'


def markdown() -> str:
    """Return the runbook's page."""
    head = (
        "# Runbook\n\n"
        "Made from `operator/parallel_consumer_operator/runbook/table.py` by `make generate`; do not edit.\n\n"
        "| alert | for | severity | the tuner's part |\n|---|---|---|---|\n"
    )
    rows = "".join(
        f"| [{each.id}](#{each.id.lower()}) | {each.minutes} min | {each.severity} | {_feeds(each)} |\n"
        for each in TABLE
    )
    return head + rows + "".join(_paragraph(each) for each in TABLE)


def _feeds(condition: Condition) -> str:
    return ", ".join(f"{type(each).__name__.lower()} {each.value}" for each in condition.feeds) or "-"


def _paragraph(condition: Condition) -> str:
    expression = condition.expression(_matchers(None, None))
    return f"\n## {condition.id}\n\n{_plain(condition.summary)}\n\n{condition.action}\n\n```promql\n{expression}\n```\n"


def _plain(summary: str) -> str:
    """Return a summary without Prometheus' templates: `{{ $labels.pod }}` -> `pod`."""
    for label in ("namespace", METRIC_LABEL, "pod", "topic", "partition"):
        summary = summary.replace(f"{{{{ $labels.{label} }}}}", f"<{label}>")
    return summary.replace("<namespace>/<parallelconsumer>: ", "").capitalize().replace("<", "`").replace(">", "`")
