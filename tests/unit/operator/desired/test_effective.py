"""Precedence: tuner over spec over profile over built-in, each value with its source."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from consumer_runtime import reload
from consumer_runtime.contract.knobs import Knobs, bounds, camel_case
from consumer_runtime.contract.settings import Mode, RuntimeSettings
from parallel_consumer_operator.desired.effective import Effective, Tuned, invalid, resolve
from parallel_consumer_operator.errors import InvalidResourceError
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec
from parallel_consumer_operator.resource.status import ValueSource


def spec(**sections: Any) -> ParallelConsumerSpec:
    """Return a spec with these sections beside the least that one needs."""
    kafka = {"bootstrapServers": ["kafka:9092"], "topics": ["orders"], "consumerGroup": "orders"}
    return ParallelConsumerSpec.model_validate(
        {"source": {"kafka": kafka}, "handler": {"entrypoint": "orders:handle"}, **sections}
    )


def knob(effective: Effective, name: str) -> tuple[int, ValueSource]:
    """Return a knob's value and source."""
    found = next(each for each in effective.knobs if each.name == name)
    return found.value, found.source


@pytest.mark.parametrize(
    ("sections", "tuned", "expected"),
    [
        ({}, {}, (Knobs().max_in_flight, ValueSource.DEFAULT)),
        ({"profile": "LowLatency"}, {}, (256, ValueSource.PROFILE)),
        ({"profile": "HighThroughput"}, {}, (2_000, ValueSource.PROFILE)),
        ({"profile": "ResourceConstrained"}, {}, (128, ValueSource.PROFILE)),
        ({"profile": "LowLatency", "execution": {"maxInFlight": 16}}, {}, (16, ValueSource.SPEC)),
        ({"execution": {"maxInFlight": 16}}, {"maxInFlight": Tuned(64, start=16)}, (64, ValueSource.TUNER)),
        ({"profile": "LowLatency"}, {"maxInFlight": Tuned(300, start=256)}, (300, ValueSource.TUNER)),
    ],
)
def test_the_strongest_word_counts(
    sections: dict[str, Any], tuned: dict[str, Tuned], expected: tuple[int, ValueSource]
) -> None:
    """One table of who wins, and who is named as the source."""
    assert knob(resolve(spec(**sections), tuned=tuned, cpu_limit=None), "maxInFlight") == expected


def test_a_person_who_edits_the_start_overrules_the_tuner() -> None:
    """A tuned value was decided upon a start; when that changes, the person's new value is in force."""
    effective = resolve(spec(execution={"maxInFlight": 32}), tuned={"maxInFlight": Tuned(64, start=16)}, cpu_limit=None)
    assert knob(effective, "maxInFlight") == (32, ValueSource.SPEC)
    assert effective.tuned == {}


def test_a_value_for_something_that_is_not_tunable_is_passed_over() -> None:
    """Only what the contract marks as tunable is ever taken from the tuner."""
    effective = resolve(spec(), tuned={"taskTimeoutMs": Tuned(1, start=30_000)}, cpu_limit=None)
    assert knob(effective, "taskTimeoutMs") == (30_000, ValueSource.DEFAULT)


@pytest.mark.parametrize(
    ("sections", "mode", "source"),
    [
        ({}, Mode.ASYNC, ValueSource.DEFAULT),
        ({"profile": "HighThroughput"}, Mode.PROCESS, ValueSource.PROFILE),
        ({"profile": "HighThroughput", "execution": {"mode": "thread"}}, Mode.THREAD, ValueSource.SPEC),
        ({"profile": "ResourceConstrained"}, Mode.ASYNC, ValueSource.DEFAULT),
    ],
)
def test_the_mode_has_a_source_too(sections: dict[str, Any], mode: Mode, source: ValueSource) -> None:
    """ResourceConstrained leaves the mode to the resource."""
    effective = resolve(spec(**sections), tuned={}, cpu_limit=None)
    assert (effective.mode, effective.mode_source) == (mode, source)


@pytest.mark.parametrize(
    ("profile", "cpu_limit", "workers"),
    [
        ("HighThroughput", 4, 4),
        ("ResourceConstrained", 4, 2),
        ("ResourceConstrained", 1, 1),
        ("ResourceConstrained", 3, 2),
    ],
)
def test_workers_follow_the_pods_cpu_limit(profile: str, cpu_limit: int, workers: int) -> None:
    """CPU count is the pod's limit, not the node's; half of it is rounded up and at least one."""
    effective = resolve(spec(profile=profile, execution={"mode": "process"}), tuned={}, cpu_limit=cpu_limit)
    assert knob(effective, "workerPoolSize") == (workers, ValueSource.PROFILE)


@pytest.mark.parametrize(("mode", "cpu_limit", "workers"), [("process", 8, 8), ("process", None, 4), ("thread", 8, 4)])
def test_without_a_profile_processes_follow_the_cpu_limit_and_threads_do_not(
    mode: str, cpu_limit: int | None, workers: int
) -> None:
    """A process computes, a thread waits; either way it is a default, and told as one."""
    effective = resolve(spec(execution={"mode": mode}), tuned={}, cpu_limit=cpu_limit)
    assert knob(effective, "workerPoolSize") == (workers, ValueSource.DEFAULT)


def test_every_number_that_a_profile_fills_is_told_with_its_source() -> None:
    """Retries and the batching of processes too, not only the knobs; batching only where there are processes."""
    constrained = resolve(spec(profile="ResourceConstrained", retry={"jitterPercent": 5}), tuned={}, cpu_limit=None)
    assert knob(constrained, "retry.maxRetries") == (3, ValueSource.PROFILE)
    assert knob(constrained, "retry.jitterPercent") == (5, ValueSource.SPEC)
    assert knob(constrained, "retry.maxBackoffMs") == (30_000, ValueSource.DEFAULT)
    assert not [each.name for each in constrained.knobs if each.name.startswith("process.")]
    throughput = resolve(spec(profile="HighThroughput"), tuned={}, cpu_limit=None)
    assert knob(throughput, "process.batchSize") == (128, ValueSource.PROFILE)


def test_every_setting_of_the_runtime_can_be_stated_in_the_resource() -> None:
    """A field added to the contract and forgotten here would be out of reach for users of the operator.

    Not in the resource: the pod's own port, the generation, and what is mounted from Secrets.
    """
    stated = resolve(
        spec(
            source={"kafka": {
                "bootstrapServers": ["k:1"], "topics": ["t", "u"], "consumerGroup": "g", "membership": "static",
                "autoOffsetReset": "latest", "securityProtocol": "SASL_SSL", "saslMechanism": "OAUTHBEARER",
                "oauthToken": "shop.login:token", "schemaRegistry": {"url": "http://r:1"},
                "properties": {"client.rack": "a"},
            }},
            handler={"entrypoint": "a:b", "topics": {"u": "a:c"}, "valueFormat": "json", "logContext": False},
            execution={"mode": "process", "ordering": "partition", "process": {"batchSize": 1, "queueSize": 2},
                       **{camel_case(name): bounds(name)[1] for name in Knobs.model_fields}},
            retry={"maxRetries": 1, "backoffMs": 2, "maxBackoffMs": 3, "jitterPercent": 4,
                   "policies": [{"errors": ["a:B"], "maxRetries": 1, "backoffMs": 1, "maxBackoffMs": 1}]},
            deadLetter={"enabled": True, "topic": "d", "payloadMode": "metadata_only"},
            circuitBreaker={"failurePercent": 1, "windowAttempts": 5, "openMs": 100},
            results={"topic": "done"},
            logLevel="DEBUG",
        ),
        tuned={}, cpu_limit=None,
    ).settings  # fmt: skip
    left = differing(RuntimeSettings.for_kafka("x:1", topics=["x"], consumer_group="x"), stated)
    mounted = {
        "sasl_username", "sasl_password", "credentials_location", "ca_location", "certificate_location", "key_location",
    }  # fmt: skip
    elsewhere = {f"source.kafka.{name}" for name in mounted | {"topic_pattern"}} | {"profile", "generation", "http"}
    assert unstated(RuntimeSettings) - left == elsewhere


def differing(before: BaseModel, after: BaseModel) -> set[str]:
    """Return the places at which two settings differ."""
    return {".".join(map(str, where)) for where, _, _ in reload.differences(before, after)}


def unstated(model: type[BaseModel], at: str = "") -> set[str]:
    """Return every place of a settings model that `differences` can name."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if name != "http" and isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= unstated(inner, f"{at}{name}.")
        else:
            found.add(f"{at}{name}")
    return found


def test_a_pool_is_not_told_where_there_is_none() -> None:
    """In mode async the worker pool has no effect, and the status does not pretend."""
    effective = resolve(spec(), tuned={}, cpu_limit=None)
    assert "workerPoolSize" not in {each.name for each in effective.knobs}


def test_profile_and_spec_fill_the_nested_sections() -> None:
    """Process batching and retries have the same precedence."""
    effective = resolve(
        spec(profile="HighThroughput", execution={"process": {"batchSize": 32}}, retry={"maxRetries": 7}),
        tuned={}, cpu_limit=None,
    )  # fmt: skip
    assert effective.settings.execution.process.batch_size == 32
    assert effective.settings.execution.process.queue_size == 4_096
    assert effective.settings.retry.max_retries == 7


def test_secrets_never_reach_the_settings() -> None:
    """References to Secrets become mounts; neither names nor contents are in the file."""
    kafka = {
        "bootstrapServers": ["kafka:9092"], "topics": ["orders"], "consumerGroup": "orders",
        "securityProtocol": "SASL_SSL", "saslMechanism": "SCRAM-SHA-512", "credentialsSecretRef": {"name": "hidden"},
    }  # fmt: skip
    effective = resolve(spec(source={"kafka": kafka}), tuned={}, cpu_limit=None)
    assert "hidden" not in effective.settings.model_dump_json()


def test_what_is_wrong_only_as_a_whole_names_the_field_as_the_spec_spells_it() -> None:
    """The profile's backoff meets the spec's cap only after resolution."""
    with pytest.raises(InvalidResourceError) as caught:
        resolve(spec(retry={"maxBackoffMs": 10}), tuned={}, cpu_limit=None)
    assert caught.value.field == "spec.retry"
    assert "must be at most" in str(caught.value)


def test_a_field_that_does_not_exist_is_named_with_what_to_do() -> None:
    """As stored under a definition that lets it through: in the sentence is the field, and that it is to go."""
    with pytest.raises(ValidationError) as caught:
        spec(podTemplate={"spec": {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}})
    told = str(invalid(caught.value, prefix="spec"))
    assert told == "spec.podTemplate.spec.volumes.0.hostPath: 'dict': there is no such field, take it out"
