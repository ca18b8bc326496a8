"""An event of ours as a Kubernetes Event. Pure; posting it is `cluster.py`'s."""

import hashlib
from datetime import datetime

from parallel_consumer_operator.port import Event, Manifest
from parallel_consumer_operator.resource import names


def event_manifest(resource: Manifest, event: Event, *, identity: str, now: datetime) -> Manifest:
    """Return a core Event whose name follows from what it says, so that a repetition finds the first one."""
    metadata, time = resource["metadata"], now.strftime("%Y-%m-%dT%H:%M:%SZ")
    said = f"{metadata['uid']} {event.reason} {event.message}"
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": event.type.value,
        "reason": event.reason,
        "message": event.message[:1024],
        "source": {"component": names.FIELD_MANAGER, "host": identity},
        "reportingComponent": names.FIELD_MANAGER,
        "reportingInstance": identity[:128],
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
