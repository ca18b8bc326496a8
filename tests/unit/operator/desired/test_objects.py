"""Whether what exists is what is wanted: missing, drifted, applied as something else, or somebody else's."""

import copy
from typing import Any

import pytest

from parallel_consumer_operator.desired.objects import holds, is_owned, needs_apply
from parallel_consumer_operator.desired.owner import Owner, child

OWNER = Owner(namespace="shop", name="orders", uid="1")


def wanted(**data: str) -> dict[str, Any]:
    """Return a ConfigMap as we would apply it."""
    return child(OWNER, api_version="v1", kind="ConfigMap", name="orders", data=data)


def stored(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a manifest as the API server gives it back, with changes at its top."""
    live = copy.deepcopy(manifest)
    live["metadata"] |= {"uid": "2", "resourceVersion": "7", "managedFields": []}
    return live | changes


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (None, True),
        (stored(wanted(a="1")), False),
        (stored(wanted(a="1"), data={"a": "1", "b": "someone else's"}), False),
        (stored(wanted(a="1"), data={"a": "2"}), True),
        (stored(wanted(a="1"), data={}), True),
        (stored(wanted(a="1", b="no longer wanted")), True),
    ],
)
def test_an_object_is_applied_when_it_is_not_what_we_want(live: dict[str, Any] | None, *, expected: bool) -> None:
    """Missing, changed, or with a field that we no longer want; another owner's extra field is left alone."""
    assert needs_apply(live, wanted(a="1")) is expected


@pytest.mark.parametrize(
    ("live", "ours", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": []}, True),
        ({"a": 1}, {"a": 1, "b": 0}, False),
        ([{"a": 1, "x": 2}], [{"a": 1}], True),
        ([{"a": 1}, {"a": 2}], [{"a": 1}], False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ("text", "text", True),
        ("text", ["t"], False),
        (None, {"a": 1}, False),
    ],
)
def test_live_holds_ours(live: Any, ours: Any, *, expected: bool) -> None:
    """Defaults beside our fields are fine; list items, their number and their order are ours."""
    assert holds(live, ours) is expected


def test_only_our_own_children_are_ours() -> None:
    """An object of the same name that belongs to another, or to nobody, is never taken over."""
    assert is_owned(stored(wanted()), OWNER)
    assert not is_owned(stored(wanted()), Owner(namespace="shop", name="orders", uid="another"))
    assert not is_owned({"metadata": {}}, OWNER)
