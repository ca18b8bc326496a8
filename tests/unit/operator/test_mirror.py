"""Of two versions the newer one counts, whoever told it first; and only a whole list proves that something is not."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parallel_consumer_operator.kinds import POD
from parallel_consumer_operator.mirror import Mirror, Scope
from parallel_consumer_operator.port import Key, KindRef
from parallel_consumer_operator.resource import names

MAP = KindRef("v1", "ConfigMap")
SHOP = Scope(MAP, "shop")


def thing(name: str, version: int, namespace: str = "shop") -> dict[str, Any]:
    """Return an object of the consumer `orders`."""
    labels = {names.LABEL_NAME: "orders"}
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version), "labels": labels}}


@given(st.permutations(range(1, 6)))
def test_the_newest_version_stays_in_whatever_order_they_are_told(order: list[int]):
    """An echo of an older write, that comes after the answer to a newer one, changes nothing and is no news."""
    mirror, highest = Mirror(), 0
    for version in order:
        assert mirror.keep(MAP, thing("a", version)) == (version > highest)
        highest = max(highest, version)
    assert mirror.get(MAP, "shop", "a") == thing("a", 5)


def test_versions_are_compared_as_numbers():
    """10 is newer than 9."""
    mirror = Mirror()
    mirror.keep(MAP, thing("a", 9))
    assert mirror.keep(MAP, thing("a", 10))


def test_only_a_whole_list_proves_absence():
    """Before the list, and after it cannot be had any more, what is not here may still exist."""
    mirror = Mirror()
    assert not mirror.covers(MAP, "shop")
    mirror.fill(SHOP, [thing("a", 1)], version=3)
    assert mirror.covers(MAP, "shop")
    assert not mirror.covers(MAP, "billing")
    mirror.lose(SHOP)
    assert not mirror.covers(MAP, "shop")
    mirror.fill(Scope(MAP, ""), [], version=4)
    assert mirror.covers(MAP, "billing")


def test_a_new_list_takes_away_what_is_gone_and_keeps_what_was_written_since():
    """Deleted while nobody watched: gone. Written by us after the list was made: stays."""
    mirror = Mirror()
    mirror.fill(SHOP, [thing("old", 1), thing("same", 2)], version=2)
    mirror.keep(MAP, thing("written-meanwhile", 9))
    mirror.keep(MAP, thing("elsewhere", 1, namespace="billing"))
    news = mirror.fill(SHOP, [thing("same", 2), thing("new", 5)], version=8)
    assert {each["metadata"]["name"] for each in news} == {"old", "new"}
    assert mirror.get(MAP, "shop", "old") is None
    assert mirror.get(MAP, "shop", "written-meanwhile") is not None
    assert mirror.get(MAP, "billing", "elsewhere") is not None


def test_the_end_of_an_older_namesake_does_not_take_the_new_one():
    """Deleted and made again: the late news of the deletion is older than the new object."""
    mirror = Mirror()
    mirror.keep(MAP, thing("a", 7))
    assert not mirror.drop(MAP, thing("a", 6))
    assert mirror.get(MAP, "shop", "a") is not None
    assert mirror.drop(MAP, thing("a", 8))
    assert mirror.get(MAP, "shop", "a") is None


def test_pods_are_found_by_their_consumer():
    """By name, in order; a pod that is gone is not among them."""
    mirror = Mirror()
    for name in ("b", "a", "c"):
        mirror.keep(POD, thing(name, 1))
    mirror.drop(POD, thing("b", 2))
    assert [pod["metadata"]["name"] for pod in mirror.pods(Key("shop", "orders"))] == ["a", "c"]
    assert mirror.pods(Key("billing", "orders")) == []


def test_a_kind_that_the_cluster_lacks_is_known_to_be_missing_until_it_comes():
    """As with PodMonitors before the prometheus-operator is installed."""
    mirror = Mirror()
    mirror.lose(SHOP, kind_is_missing=True)
    assert mirror.lacks_kind(MAP, "shop")
    mirror.fill(SHOP, [], version=1)
    assert not mirror.lacks_kind(MAP, "shop")


def test_managed_fields_are_not_kept():
    """They are half of an object's size, and nothing here reads them."""
    mirror, told = Mirror(), thing("a", 1)
    told["metadata"]["managedFields"] = [{"manager": "someone"}]
    mirror.keep(MAP, told)
    assert mirror.get(MAP, "shop", "a") == thing("a", 1)
