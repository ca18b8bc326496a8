"""The API server goes away, refuses, answers late, or changes the definition under load; many resources come and go.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import json
import time
from typing import Any

import pytest
from troublemaker import Troublemaker

pytestmark = pytest.mark.cluster
MANY = 200
KOPFS_ATTEMPTS = 9
"""Kopf asks so often, 54 s in all, and then ends."""


def is_there(lab: Any, name: str = "orders", **execution: Any) -> bool:
    """Whether the settings hold these values and the status tells of the present spec."""
    settings, resource = lab.settings(name), lab.get("pcon", name)
    if not settings or not lab.get("deployment", name) or not resource:
        return False
    observed = resource.get("status", {}).get("observedGeneration") == resource["metadata"]["generation"]
    return observed and execution.items() <= settings["execution"].items()


def restart_api_server(lab: Any, *, away_seconds: float) -> None:
    """Kill the API server with 9, and start it again over the same data."""
    lab.cluster.kill("kube-apiserver")
    time.sleep(away_seconds)
    lab.cluster.start()


def test_the_operator_outlives_an_api_server_that_is_killed(lab: Any, operator: Any) -> None:
    """Away for 20 s: the same process goes on, its watches of the resource and of the children tell again."""
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: is_there(lab, max_in_flight=16))
    restart_api_server(lab, away_seconds=20)
    assert operator.process.poll() is None
    lab.apply(lab.consumer(execution={"maxInFlight": 32}))
    lab.eventually(lambda: is_there(lab, max_in_flight=32), seconds=60)
    lab.done("delete", "configmap", "orders-settings")
    lab.eventually(lambda: is_there(lab, max_in_flight=32), seconds=60)
    assert operator.process.poll() is None


def test_the_definition_is_replaced_while_resources_change(lab: Any, operator: Any) -> None:
    """An older definition without a field, then ours again, with an edit at each: every edit is followed, none lost."""
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: is_there(lab, max_in_flight=16))
    definition = "crd/parallelconsumers.parallelconsumer.dev"
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend"
    schema = json.loads(lab.done("get", definition, "-o", "json"))
    kept = schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["suspend"]
    for turn in range(1, 4):
        lab.done("patch", definition, "--type=json", "-p", json.dumps([{"op": "remove", "path": path}]))
        lab.apply(lab.consumer(execution={"maxInFlight": 16 + turn}))
        lab.done("patch", definition, "--type=json", "-p", json.dumps([{"op": "add", "path": path, "value": kept}]))
        lab.eventually(lambda turn=turn: is_there(lab, max_in_flight=16 + turn), seconds=60)
    assert operator.process.poll() is None


def test_a_refused_watch_is_opened_anew(lab: Any, troubled: tuple[Any, Troublemaker]) -> None:
    """A refusal that trying again would not mend, as after a change of rights: told, and gone on with."""
    operator, maker = troubled
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: is_there(lab, max_in_flight=16))
    refusal = maker.refuse_watches("/parallelconsumers", 403, times=KOPFS_ATTEMPTS)
    maker.trouble.set()  # cuts off the watches that there are
    lab.eventually(lambda: refusal.left < KOPFS_ATTEMPTS)
    maker.trouble.clear()
    told = "the API server refused a watch; it is opened anew"
    (line,) = lab.eventually(lambda: [each for each in operator.lines() if each["event"] == told], seconds=90)
    assert (line["level"], line["status"]) == ("error", 403)
    lab.apply(lab.consumer(execution={"maxInFlight": 32}))
    lab.eventually(lambda: is_there(lab, max_in_flight=32))
    assert operator.process.poll() is None
    assert operator.end() == 0


def test_two_hundred_resources_come_and_go_at_once(lab: Any, operator: Any) -> None:
    """Each gets its children; after the deletion nothing of them is left, and the operator's loops have ended."""
    off = {"podMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}
    made = [
        lab.consumer(f"many-{number}", suspend=True, tuning={"mode": "Off"}, monitoring=off) for number in range(MANY)
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": made}
    lab.done("create", "-f", "-", stdin=listed)

    def count(kind: str) -> int:
        label = "app.kubernetes.io/managed-by=parallel-consumer-operator"
        return len(lab.done("get", kind, "-l", label, "-o", "name").splitlines())

    lab.eventually(lambda: count("deployment") == count("configmap") == MANY, seconds=240)
    lab.done("delete", "pcon", "--all", "--wait=false")
    lab.eventually(lambda: count("deployment") == count("configmap") == count("serviceaccount") == 0, seconds=240)
    assert lab.done("get", "pcon", "-o", "name") == ""
    assert operator.process.poll() is None
    lab.apply(lab.consumer(execution={"maxInFlight": 7}))
    lab.eventually(lambda: is_there(lab, max_in_flight=7), seconds=60)


def test_refusals_and_lost_watches_delay_and_break_nothing(lab: Any, troubled: tuple[Any, Troublemaker]) -> None:
    """30 % of the answers are 409, 429 or 5xx, watches are cut off: each edit and each drift is still followed."""
    operator, maker = troubled
    lab.apply(lab.consumer(execution={"maxInFlight": 16}))
    lab.eventually(lambda: is_there(lab, max_in_flight=16), seconds=60)
    maker.trouble.set()
    for value in (17, 18, 19):
        lab.apply(lab.consumer(execution={"maxInFlight": value}))
        lab.eventually(lambda value=value: is_there(lab, max_in_flight=value), seconds=90)
    lab.done("delete", "configmap", "orders-settings")
    lab.eventually(lambda: is_there(lab, max_in_flight=19), seconds=90)
    maker.trouble.clear()
    lab.apply(lab.consumer(execution={"maxInFlight": 20}))
    lab.eventually(lambda: is_there(lab, max_in_flight=20), seconds=60)
    assert maker.refused >= 5
    assert operator.process.poll() is None, operator.log.read_text()[-3000:]
