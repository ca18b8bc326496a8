"""The advice as a ParallelConsumer manifest: YAML with the reasons as comments, checked against the resource."""

import textwrap
from typing import Any

import yaml

from benchmarks.choose.advice import Advice
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

_WIDTH = 110


def manifest(
    advice: Advice, *, name: str, entrypoint: str, topic: str, group: str, image: str | None, ordering: str
) -> dict[str, Any]:
    """Return the resource. Raises InvalidResourceError when it is not one, which would be a defect here."""
    handler: dict[str, Any] = {"entrypoint": entrypoint} | ({"image": image} if image else {})
    found: dict[str, Any] = {
        "apiVersion": "parallelconsumer.dev/v1alpha1",
        "kind": "ParallelConsumer",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "source": {"kafka": {"bootstrapServers": ["kafka:9092"], "topics": [topic], "consumerGroup": group}},
            "handler": handler,
            "execution": {"mode": advice.mode.value, "ordering": ordering, **advice.knobs},
            "tuning": {
                "mode": "Recommend",
                "knobs": {knob: {"min": low, "max": high} for knob, (low, high) in advice.bounds.items()},
            },
        },
    }
    ParallelConsumerSpec.parse(found)
    return found


def as_yaml(found: dict[str, Any], reasons: list[str]) -> str:
    """Return the manifest as YAML under its reasons."""
    lines = [line for reason in reasons for line in _comment(reason)]
    return "\n".join(lines) + "\n" + yaml.safe_dump(found, sort_keys=False)


def _comment(reason: str) -> list[str]:
    flat = " ".join(reason.split())
    return textwrap.wrap(flat, _WIDTH, initial_indent="# - ", subsequent_indent="#   ")
