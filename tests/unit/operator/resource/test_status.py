"""The status models read what other versions wrote."""

from parallel_consumer_operator.resource.status import ConditionStatus, ConditionType, ParallelConsumerStatus


def test_unknown_fields_of_a_newer_operator_are_passed_over() -> None:
    """A downgrade reads what it knows."""
    status = ParallelConsumerStatus.parse({"status": {"observedGeneration": 3, "fromTheFuture": {"a": 1}}})
    assert status.observed_generation == 3


def test_an_unreadable_status_is_an_empty_one() -> None:
    """Nothing is lost by it: the ConfigMap holds what is applied."""
    assert ParallelConsumerStatus.parse({"status": {"observedGeneration": "x"}}) == ParallelConsumerStatus()


def test_what_is_written_is_what_is_read() -> None:
    """A round trip through the API server changes nothing, so that an unchanged status is never written."""
    stored = {
        "observedGeneration": 2,
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Running", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ],
        "effective": {"configGeneration": 4, "knobs": [
            {"name": "maxInFlight", "value": 64, "source": "Tuner", "start": 16}
        ]},
    }  # fmt: skip
    status = ParallelConsumerStatus.parse({"status": stored})
    assert ParallelConsumerStatus.parse({"status": status.manifest()}) == status
    ready = status.condition(ConditionType.READY)
    assert ready is not None
    assert ready.status is ConditionStatus.TRUE


def test_nothing_empty_is_written() -> None:
    """An empty list or object says nothing, and a person reading the status need not see it."""

    def empties(value: object) -> list[object]:
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        return [found for item in inner for found in ([item] if item in ({}, []) else empties(item))]

    assert empties(ParallelConsumerStatus().manifest()) == []
