"""The rules of the resource that a schema cannot say, as CEL for the API server; each message tells what to do.

Rules check values that are present. What only shows once profile and defaults are resolved becomes a condition.
"""

from dataclasses import dataclass
from typing import Final

from consumer_runtime.contract.knobs import camel_case, tunable_knobs
from consumer_runtime.contract.properties import refused

MAX_POLL_INTERVAL_MS: Final = 300_000
"""librdkafka's default of `max.poll.interval.ms`."""
ENTRYPOINT: Final = "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
NAME_LENGTH: Final = 52
"""A pod's name adds a ReplicaSet's hash and its own: 63 characters are what a label and a host name may have."""

REFUSED_PROPERTIES: Final = {
    **refused(),
    "offsets and assignments would be wrong": ("enable.partition.eof", "test.mock.num.brokers"),
}
"""librdkafka properties that `properties` must not hold, by the reason: the contract's, and two of a library's user."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule at a place of the spec (`a.b.*` is every item of a list or map)."""

    path: str
    rule: str
    message: str


def _property_rules() -> tuple[Rule, ...]:
    return tuple(
        Rule(
            "spec.source.kafka",
            f"!has(self.properties) || !self.properties.exists(key, key in {list(names)})",
            f"properties may not hold {', '.join(names)}: {reason}.",
        )
        for reason, names in REFUSED_PROPERTIES.items()
    )


def _bound_rules() -> tuple[Rule, ...]:
    rules: list[Rule] = []
    for knob in map(camel_case, tunable_knobs()):
        bounds, value = f"self.tuning.knobs.{knob}", f"self.execution.{knob}"
        present = f"!has(self.tuning) || !has(self.tuning.knobs) || !has({bounds}) || !has(self.execution)"
        rules += [
            Rule(
                f"spec.tuning.knobs.{knob}",
                "!has(self.min) || !has(self.max) || self.min <= self.max",
                f"tuning.knobs.{knob}.min is above its max: swap or widen them.",
            ),
            Rule(
                "spec",
                f"{present} || !has({value}) || !has({bounds}.min) || {value} >= {bounds}.min",
                f"execution.{knob} is below tuning.knobs.{knob}.min: tuning starts at the spec's value, so raise it or"
                " lower min.",
            ),
            Rule(
                "spec",
                f"{present} || !has({value}) || !has({bounds}.max) || {value} <= {bounds}.max",
                f"execution.{knob} is above tuning.knobs.{knob}.max: tuning starts at the spec's value, so lower it or"
                " raise max.",
            ),
        ]
    return tuple(rules)


_CPU_IS_ASKED_FOR = (
    "has(self.podTemplate) && has(self.podTemplate.spec) && has(self.podTemplate.spec.consumer)"
    " && has(self.podTemplate.spec.consumer.resources)"
    " && [has(self.podTemplate.spec.consumer.resources.requests) &&"
    " 'cpu' in self.podTemplate.spec.consumer.resources.requests,"
    " has(self.podTemplate.spec.consumer.resources.limits) &&"
    " 'cpu' in self.podTemplate.spec.consumer.resources.limits].exists(stated, stated)"
)
_SCALING_RULES: Final = (
    Rule(
        "spec.scaling",
        "!has(self.type) || self.type == 'None' || has(self.maxReplicas)",
        "scaling.maxReplicas is needed with this scaling.type: the number of partitions is a good one.",
    ),
    Rule(
        "spec.scaling",
        "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
        "scaling.minReplicas is above maxReplicas: swap or widen them.",
    ),
    Rule(
        "spec.scaling",
        "!has(self.type) || self.type != 'HPA' || !has(self.minReplicas) || self.minReplicas >= 1",
        "scaling.minReplicas must be at least 1 with an HPA: only KEDA scales to zero.",
    ),
    Rule(
        "spec",
        "!has(self.scaling) || !has(self.scaling.type) || self.scaling.type != 'HPA'"
        f" || (has(self.scaling.metrics) && size(self.scaling.metrics) > 0) || ({_CPU_IS_ASKED_FOR})",
        "scaling.type HPA measures CPU against what is asked for: set podTemplate.spec.consumer.resources.requests.cpu,"
        " or scaling.metrics of your own.",
    ),
    Rule(
        "spec",
        "!has(self.scaling) || !has(self.scaling.type) || self.scaling.type != 'KEDA'"
        " || (has(self.scaling.triggers) && size(self.scaling.triggers) > 0) || has(self.scaling.authenticationRef)"
        " || !has(self.source.kafka.securityProtocol) || self.source.kafka.securityProtocol == 'PLAINTEXT'",
        "scaling.authenticationRef is needed: KEDA asks Kafka for the lag itself, and this one wants TLS or a login:"
        " name a TriggerAuthentication, or give scaling.triggers of your own.",
    ),
)


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "",
        f"size(self.metadata.name) <= {NAME_LENGTH}",
        f"metadata.name must be at most {NAME_LENGTH} characters: the names of the pods are made from it.",
    ),
    Rule(
        "spec.source.kafka",
        "(has(self.topics) && size(self.topics) > 0) != has(self.topicPattern)",
        "set either topics or topicPattern, and not both.",
    ),
    Rule(
        "spec.source.kafka",
        "!has(self.topics) || self.topics.all(topic, topic.matches('^[a-zA-Z0-9._-]+$'))",
        "topics may hold letters, digits, dot, underscore and hyphen; for a regular expression use topicPattern.",
    ),
    Rule(
        "spec.source.kafka",
        "!has(self.topicPattern) || self.topicPattern.startsWith('^')",
        "topicPattern must begin with ^, such as ^orders-.*",
    ),
    Rule(
        "spec.source.kafka",
        "self.bootstrapServers.all(server, server.matches('^[^,[:space:]/]+:[0-9]{1,5}$'))",
        "bootstrapServers are host:port, such as kafka.kafka:9092, one per item.",
    ),
    Rule(
        "spec.source.kafka.consumerGroup",
        "self == oldSelf",
        "consumerGroup cannot be changed, offsets belong to a group: create a second ParallelConsumer instead.",
    ),
    Rule(
        "spec.source.kafka",
        "!has(self.securityProtocol) || !self.securityProtocol.startsWith('SASL_') || has(self.saslMechanism)",
        "saslMechanism is needed with a securityProtocol that begins with SASL_, such as SCRAM-SHA-512.",
    ),
    Rule(
        "spec.source.kafka",
        "!has(self.saslMechanism) || self.saslMechanism == 'OAUTHBEARER' || has(self.credentialsSecretRef)",
        "credentialsSecretRef is needed for this saslMechanism: a Secret with the keys username and password.",
    ),
    Rule(
        "spec.source.kafka",
        "!has(self.saslMechanism) || self.saslMechanism != 'OAUTHBEARER' || has(self.oauthToken)"
        " || (has(self.properties) && 'sasl.oauthbearer.method' in self.properties"
        " && self.properties['sasl.oauthbearer.method'] == 'oidc' && has(self.credentialsSecretRef))",
        "OAUTHBEARER needs oauthToken, a function of your code that returns a token, or the property"
        " sasl.oauthbearer.method: oidc with credentialsSecretRef (username is the client's id, password its secret).",
    ),
    Rule(
        "spec.source.kafka",
        f"!has(self.oauthToken) || self.oauthToken.matches('{ENTRYPOINT}')",
        "oauthToken must be package.module:function, such as shop.login:token.",
    ),
    *_property_rules(),
    Rule(
        "spec.handler",
        f"self.entrypoint.matches('{ENTRYPOINT}')",
        "entrypoint must be package.module:attribute, such as shop.orders:handle.",
    ),
    Rule(
        "spec.handler",
        f"!has(self.topics) || self.topics.all(topic, self.topics[topic].matches('{ENTRYPOINT}'))",
        "each of handler.topics must be package.module:attribute, such as shop.payments:handle.",
    ),
    Rule(
        "spec",
        "!has(self.handler.valueFormat) || self.handler.valueFormat != 'schema_registry'"
        " || has(self.source.kafka.schemaRegistry)",
        "handler.valueFormat schema_registry needs source.kafka.schemaRegistry.url.",
    ),
    Rule(
        "spec",
        "!has(self.handler.topics) || !has(self.source.kafka.topics)"
        " || self.handler.topics.all(topic, topic in self.source.kafka.topics)",
        "handler.topics names a topic that is not in source.kafka.topics: add it there, or remove it here.",
    ),
    Rule(
        "spec.handler",
        "!has(self.image) || self.image.matches('^[A-Za-z0-9][A-Za-z0-9._/:@-]*$')",
        "image must be an image reference such as registry.example/shop/orders:1.4, without spaces or other signs.",
    ),
    Rule(
        "spec.execution",
        "!has(self.workerPoolSize) || !has(self.mode) || self.mode in ['thread', 'process', 'auto']",
        "workerPoolSize has no effect in this mode: remove it, or set mode to thread, process or auto.",
    ),
    Rule(
        "spec.execution",
        "!has(self.process) || !has(self.mode) || self.mode in ['process', 'auto']",
        "process has no effect in this mode: remove it, or set mode to process or auto.",
    ),
    Rule(
        "spec",
        "!has(self.execution) || !has(self.execution.mode) || self.execution.mode != 'single' || !has(self.tuning)"
        " || !has(self.tuning.knobs) || (!has(self.tuning.knobs.maxInFlight)"
        " && !has(self.tuning.knobs.workerPoolSize))",
        "in mode single only pollBatchSize can be tuned: remove the other knobs from tuning.knobs, or change the mode.",
    ),
    Rule(
        "spec",
        "!has(self.execution) || !has(self.execution.mode) || self.execution.mode != 'single'"
        " || !has(self.execution.taskTimeoutMs) || self.execution.taskTimeoutMs * 10 < 8 *"
        " (has(self.source.kafka.properties) && 'max.poll.interval.ms' in self.source.kafka.properties"
        f" ? int(self.source.kafka.properties['max.poll.interval.ms']) : {MAX_POLL_INTERVAL_MS})",
        "in mode single the handler runs between two polls: taskTimeoutMs must be below 80 % of the property"
        f" max.poll.interval.ms ({MAX_POLL_INTERVAL_MS} by default).",
    ),
    Rule(
        "spec",
        "!has(self.source.kafka.properties) || !('max.poll.interval.ms' in self.source.kafka.properties)"
        " || self.source.kafka.properties['max.poll.interval.ms'].matches('^[1-9][0-9]{0,8}$')",
        "the property max.poll.interval.ms must be a whole number of milliseconds, such as '300000'.",
    ),
    Rule(
        "spec.retry",
        "!has(self.backoffMs) || !has(self.maxBackoffMs) || self.backoffMs <= self.maxBackoffMs",
        "retry.backoffMs is above maxBackoffMs: raise maxBackoffMs or lower backoffMs.",
    ),
    Rule(
        "spec.retry.policies.*",
        "self.backoffMs <= self.maxBackoffMs",
        "this policy's backoffMs is above its maxBackoffMs: raise maxBackoffMs or lower backoffMs.",
    ),
    Rule(
        "spec.deadLetter",
        "!has(self.enabled) || !self.enabled || has(self.topic)",
        "deadLetter.topic is needed when deadLetter.enabled is true.",
    ),
    *_bound_rules(),
    *_SCALING_RULES,
    Rule(
        "spec.tuning.prometheus",
        "!has(self.bearerTokenSecretRef) || !has(self.basicAuthSecretRef)",
        "set bearerTokenSecretRef or basicAuthSecretRef, not both.",
    ),
    Rule(
        "spec.tuning.behavior",
        "!has(self.longWindowSeconds) || !has(self.windowSeconds) || self.longWindowSeconds > self.windowSeconds",
        "longWindowSeconds must be more than windowSeconds: it is what the short window is compared with.",
    ),
    Rule(
        "spec.handler.env.*",
        "!has(self.value) || !has(self.valueFrom)",
        "an environment variable has a value or a valueFrom, not both.",
    ),
    Rule(
        "spec.handler.env.*.valueFrom",
        "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].filter(given, given).size() == 1",
        "valueFrom needs exactly one of secretKeyRef, configMapKeyRef and fieldRef.",
    ),
    Rule(
        "spec.handler.envFrom.*",
        "has(self.secretRef) != has(self.configMapRef)",
        "each item of envFrom needs either secretRef or configMapRef.",
    ),
)
