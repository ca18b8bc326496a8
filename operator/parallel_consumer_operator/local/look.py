"""Puts together one look at a running ParallelConsumer, from its manifest, its pods and their metrics pages. Pure."""

from collections.abc import Sequence

from parallel_consumer_operator.local import metrics_text
from parallel_consumer_operator.local.sample import PodLook, Sample
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource.status import ParallelConsumerStatus


def look(second: float, consumer: Manifest, pods: Sequence[tuple[Manifest, str]]) -> Sample:
    """Return a sample from the resource and each pod with the text of its `/metrics` (empty when it did not answer)."""
    status = ParallelConsumerStatus.parse(consumer)
    pages = [metrics_text.parse(text) for _, text in pods]
    return Sample(
        second=second,
        pods=tuple(
            PodLook(pod["metadata"]["uid"], _restarts(pod), metrics_text.processed(page))
            for (pod, _), page in zip(pods, pages, strict=True)
        ),
        backlog=metrics_text.backlog(pages),
        knobs=_tunable_in_force(status, pages),
        applied_steps=len(status.tuning.change_times),
        decision=status.tuning.reason,
        message=status.tuning.message,
    )


def apply_seconds(consumer: Manifest) -> tuple[int, float] | None:
    """Return (generation, seconds until every ready pod had it), None while that is not known."""
    effective = ParallelConsumerStatus.parse(consumer).effective
    took = effective.apply_milliseconds
    return None if took is None else (effective.config_generation, took / 1_000)


def _tunable_in_force(status: ParallelConsumerStatus, pages: Sequence[metrics_text.Samples]) -> dict[str, int]:
    tuned = status.tuning.starts.as_runtime()
    seen = next((knobs for page in pages if (knobs := metrics_text.knobs(page))), {})
    return {name: seen[name] for name in tuned or seen if name in seen}


def _restarts(pod: Manifest) -> int:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return sum(int(each.get("restartCount", 0)) for each in statuses)
