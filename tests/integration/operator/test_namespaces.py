"""One operator for several namespaces: it serves those that it is told to watch, and leaves all others alone.

`Any` stands for the fixtures' types: a conftest cannot be imported from.
"""

import dataclasses
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from parallel_consumer_operator.exposition import RESOURCES

pytestmark = pytest.mark.cluster


@pytest.fixture
def places(lab: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Three namespaces: the lab's own and two more."""
    others = [dataclasses.replace(lab, namespace=f"op-{uuid.uuid4().hex[:8]}") for _ in range(2)]
    for each in others:
        each.done("create", "namespace", each.namespace)
    yield (lab, *others)
    for each in others:
        each.done("delete", "namespace", each.namespace, "--wait=false")


@pytest.fixture(params=["options", "list"])
def watching(request: pytest.FixtureRequest, operator: Any, places: tuple[Any, Any, Any]) -> Iterator[Any]:
    """The operator, told of the first two: by an option each, or by the variable that the chart sets."""
    operator.end()
    first, second = (each.namespace for each in places[:2])
    if request.param == "options":
        made = dataclasses.replace(operator, options=("--namespace", second), process=None)
    else:
        environment = {**operator.environment, "WATCH_NAMESPACES": f"{first}, {second}"}
        made = dataclasses.replace(operator, namespace="", environment=environment, process=None)
    made.start()
    yield made
    made.close()


def limit(place: Any) -> int | None:
    """Return maxInFlight in the settings, None while there are none."""
    settings = place.settings()
    value: int | None = settings["execution"]["max_in_flight"] if settings else None
    return value


def apply(place: Any, value: int) -> None:
    """Apply the resource of the same name in a namespace, of a group of its own."""
    manifest = place.consumer(execution={"maxInFlight": value}, tuning={"mode": "Off"})
    manifest["spec"]["source"]["kafka"]["consumerGroup"] = place.namespace
    place.apply(manifest)


def objects(place: Any) -> list[str]:
    """Return everything in a namespace that the operator could have made."""
    kinds = "deployment,statefulset,configmap,serviceaccount,networkpolicy,pdb,hpa,pod,event"
    found: list[str] = place.done("get", kinds, "-o", "name").split()
    return [each for each in found if "/orders" in each]


def test_watched_namespaces_are_served_and_others_left_alone(watching: Any, places: tuple[Any, Any, Any]) -> None:
    """Resources of one name in three namespaces, with an edit, a drift and a deletion in each."""
    *watched, unwatched = places
    for place in places:
        apply(place, 16)
    for place in watched:
        place.eventually(lambda place=place: limit(place) == 16 and place.status().get("observedGeneration") == 1)
    for number, place in enumerate(places):
        apply(place, 32 + number)
    for number, place in enumerate(watched):
        place.eventually(lambda place=place, wanted=32 + number: limit(place) == wanted)
        place.done("delete", "configmap", "orders-settings")
        place.eventually(lambda place=place, wanted=32 + number: limit(place) == wanted)
    assert watching.figure(RESOURCES) == 2
    time.sleep(3)
    assert (objects(unwatched), unwatched.status()) == ([], {})
    each_goes_by_itself(watching, *watched)
    unwatched.done("delete", "pcon", "orders", "--timeout=10s")


def each_goes_by_itself(operator: Any, first: Any, second: Any) -> None:
    """A resource that is deleted takes its own children along, and not those of its namesake."""
    first.done("delete", "pcon", "orders", "--timeout=10s")
    first.eventually(lambda: first.get("deployment", "orders") is None and limit(first) is None)
    first.eventually(lambda: operator.figure(RESOURCES) == 1)
    apply(second, 64)
    second.eventually(lambda: limit(second) == 64)
