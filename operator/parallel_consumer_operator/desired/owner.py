"""Whom the children belong to: names, labels and the owner reference that every manifest carries. Pure."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource import names

ANNOTATION_DESIRED_HASH = f"{names.GROUP}/desired-hash"
"""On every child: what it was last applied as, so that a field that is no longer wanted is noticed."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One ParallelConsumer as its children refer to it."""

    namespace: str
    name: str
    uid: str

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select exactly this resource's pods; a Deployment's selector never changes."""
        return {names.LABEL_APPLICATION: names.APPLICATION, names.LABEL_NAME: self.name}

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every child."""
        return {**self.selector, names.LABEL_INSTANCE: self.name, names.LABEL_MANAGED_BY: names.FIELD_MANAGER}

    def reference(self) -> Manifest:
        """Return the owner reference: deleting the resource deletes its children, without a finalizer."""
        return {
            "apiVersion": names.API_VERSION, "kind": names.KIND, "name": self.name, "uid": self.uid, "controller": True,
        }  # fmt: skip


def child(
    owner: Owner,
    *,
    api_version: str,
    kind: str,
    name: str,
    annotations: dict[str, str] | None = None,
    extra_labels: dict[str, str] | None = None,
    **body: Any,
) -> Manifest:
    """Return a child's manifest with its metadata, stamped with the hash of the whole. Our own labels win."""
    manifest: Manifest = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": {**(extra_labels or {}), **owner.labels},
            "annotations": dict(annotations or {}),
            "ownerReferences": [owner.reference()],
        },
        **_without_empty_lists(body),
    }
    manifest["metadata"]["annotations"][ANNOTATION_DESIRED_HASH] = content_hash(manifest)
    return manifest


def _without_empty_lists(value: Any) -> Any:
    """An empty list says nothing, and applied server-side it may come back as null."""
    if isinstance(value, list):
        return [_without_empty_lists(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_empty_lists(item) for key, item in value.items() if item != []}


def content_hash(value: Any) -> str:
    """Return 16 hexadecimal digits that change when the JSON value does."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
