"""Reads the few figures that a look needs from pods' metrics in Prometheus' text format. Pure."""

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

from consumer_runtime.contract import metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    """Return each sample of a metrics page by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def processed(samples: Samples) -> int:
    """Return the messages that one pod finished, whatever became of them."""
    return int(sum(value for (name, _), value in samples.items() if name == metrics.PROCESSED.name))


def backlog(pods: Iterable[Samples]) -> int | None:
    """Return the messages not committed, over all pods; None while no pod knows.

    A partition that two pods report, as just after a rebalance, counts once, with the higher figure.
    """
    highest: dict[tuple[tuple[str, str], ...], float] = {}
    for samples in pods:
        for (name, labels), value in samples.items():
            if name == metrics.BACKLOG.name:
                highest[labels] = max(value, highest.get(labels, 0.0))
    return int(sum(highest.values())) if highest else None


def knobs(samples: Samples) -> dict[str, int]:
    """Return the values in force in one pod, by the runtime's names."""
    return {dict(labels)["knob"]: int(value) for (name, labels), value in samples.items() if name == metrics.KNOB.name}
