"""The PrometheusRule of a resource before a real API server: made, repaired, changed, removed, and left out.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parallel_consumer_operator.runbook.table import TABLE
from testbed.artifacts import ARTIFACTS, Name, ensure
from testbed.progress import Progress

pytestmark = pytest.mark.cluster
KIND = "prometheusrules.monitoring.coreos.com"


@pytest.fixture
def definition_file(lab: Any) -> Iterator[Path]:
    """The prometheus-operator's own definition of a PrometheusRule, not installed; installed again afterwards."""
    ensure([Name.PROMETHEUS_OPERATOR], lab.cluster.instance.cache, Progress())
    folder = ARTIFACTS[Name.PROMETHEUS_OPERATOR].folder(lab.cluster.instance.cache) / "crds"
    (path,) = [each for each in folder.iterdir() if "prometheusrules" in each.name]
    lab.done("delete", "customresourcedefinition", KIND, "--ignore-not-found", "--wait=true")
    yield path
    lab.done("apply", "--server-side", "-f", str(path))


def alerts(lab: Any) -> list[dict[str, Any]]:
    """Return the alerts of the resource's PrometheusRule, none while there is none."""
    found = lab.kubectl("get", KIND, "orders", "-o", "json", "--ignore-not-found")
    if found.returncode or not found.stdout.strip():
        return []
    rules: list[dict[str, Any]] = lab.get(KIND, "orders")["spec"]["groups"][0]["rules"]
    return rules


def test_the_alerts_of_a_resource_come_and_go_with_its_wish(lab: Any, operator: Any, definition_file: Path) -> None:
    """Left out without the definition, and said so; made when it comes; owned, repaired, changed and removed."""
    lab.apply(lab.consumer())
    told = lab.eventually(lambda: lab.events("Created"))[0]
    assert "Deployment orders" in told
    assert "no such kind" in told
    assert "PrometheusRule orders" in told
    assert lab.condition("Degraded")[0] == "False"
    lab.done("apply", "--server-side", "-f", str(definition_file))
    lab.eventually(lambda: [each["alert"] for each in alerts(lab)] == [row.id for row in TABLE], seconds=60)
    owner = lab.get("pcon", "orders")["metadata"]["uid"]
    assert lab.get(KIND, "orders")["metadata"]["ownerReferences"][0]["uid"] == owner
    assert all(f'namespace="{lab.namespace}",parallelconsumer="orders"' in each["expr"] for each in alerts(lab))
    assert {each["for"] for each in alerts(lab)} == {"1m", "5m"}

    weaker = '[{"op": "replace", "path": "/spec/groups/0/rules/0/for", "value": "9h"}]'
    lab.done("patch", KIND, "orders", "--type=json", "-p", weaker)
    lab.eventually(lambda: alerts(lab)[0]["for"] == "1m", seconds=60)
    lab.done("delete", KIND, "orders")
    lab.eventually(lambda: alerts(lab), seconds=60)

    wish = {"labels": {"release": "kube-prometheus"}, "runbookUrl": "https://runbooks.example/page.md"}
    lab.apply(lab.consumer(monitoring={"prometheusRule": wish}))
    lab.eventually(lambda: lab.get(KIND, "orders")["metadata"]["labels"].get("release") == "kube-prometheus")
    first = alerts(lab)[0]
    assert first["annotations"]["runbook_url"] == f"https://runbooks.example/page.md#{first['alert'].lower()}"
    lab.apply(lab.consumer(monitoring={"prometheusRule": {"enabled": False}}))
    lab.eventually(lambda: not alerts(lab))
    lab.apply(lab.consumer())
    lab.eventually(lambda: alerts(lab))
    lab.done("delete", "pcon", "orders")
    lab.eventually(lambda: not alerts(lab), seconds=60)


def test_a_runbook_url_that_is_none_is_refused(lab: Any) -> None:
    """The API server names the field before anything is stored."""
    said = lab.refusal(lab.consumer(monitoring={"prometheusRule": {"runbookUrl": "our wiki"}}))
    assert "spec.monitoring.prometheusRule.runbookUrl" in said
