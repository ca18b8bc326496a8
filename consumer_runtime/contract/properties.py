"""Which librdkafka properties a user may pass through, and why the others are refused. Pure.

Names as in librdkafka 2.16's CONFIGURATION.md. Not here: translating our own settings into properties.
"""

from collections.abc import Mapping

Value = str | int | float | bool

_OURS = {
    "bootstrap.servers": "source.kafka.bootstrap_servers",
    "metadata.broker.list": "source.kafka.bootstrap_servers",
    "group.id": "source.kafka.consumer_group",
    "auto.offset.reset": "source.kafka.auto_offset_reset",
    "group.instance.id": "source.kafka.membership",
    "security.protocol": "source.kafka.security_protocol",
    "sasl.mechanism": "source.kafka.sasl_mechanism",
    "sasl.mechanisms": "source.kafka.sasl_mechanism",
}
_SECRET = (
    "sasl.username", "sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.certificate.pem", "ssl.ca.pem",
    "ssl.keystore.password", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.pem", "sasl.oauthbearer.assertion.private.key.passphrase",
)  # fmt: skip
_LOADS = (
    "plugin.library.paths", "ssl.engine.location", "ssl.engine.id", "ssl.providers", "sasl.kerberos.kinit.cmd",
)  # fmt: skip
_READS = (
    "ssl.key.location", "ssl.certificate.location", "ssl.ca.location", "ssl.crl.location", "ssl.keystore.location",
    "https.ca.location", "https.ca.pem", "sasl.kerberos.keytab", "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.file", "sasl.oauthbearer.assertion.jwt.template.file",
)  # fmt: skip
_FIXED = (
    "enable.auto.commit", "auto.commit.interval.ms", "enable.auto.offset.store", "offset.store.method",
    "offset.store.path", "offset.store.sync.interval.ms", "allow.auto.create.topics",
)  # fmt: skip
_NOT_WITH_KIP_848 = (
    "session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.protocol.type",
)  # fmt: skip

_REPORTS = "statistics.interval.ms"
_REPORTS_AT_MOST_MS = 15_000


def refused() -> dict[str, tuple[str, ...]]:
    """Return every property that may not be passed through, by what to say to a person who wrote it in the resource."""
    return {
        "the resource has a field of its own for it": tuple(_OURS),
        "it holds a secret; use credentialsSecretRef, caSecretRef or clientCertificateSecretRef": _SECRET,
        "it loads or runs code in the consumer's process": _LOADS,
        "it reads a file of the pod; use caSecretRef or clientCertificateSecretRef": _READS,
        "the runtime commits offsets and checks topics itself": _FIXED,
    }


def refusal(name: str) -> str | None:
    """Return why a property may not be passed through, and what to do instead; None when it may."""
    if name in _OURS:
        return f"it is set by {_OURS[name]}"
    if name in _SECRET:
        return "secrets belong into a Secret: use credentialsSecretRef, caSecretRef or clientCertificateSecretRef"
    if name in _LOADS:
        return "it loads or runs code in the consumer's process"
    if name in _READS:
        return "it reads a file of the pod: use caSecretRef or clientCertificateSecretRef"
    if name in _FIXED:
        return "the runtime commits offsets and checks topics itself"
    return None


def problems(properties: Mapping[str, Value]) -> list[str]:
    """Return a sentence for each property that is refused, alone or together with others."""
    alone = [f"{name}: {reason}" for name in properties if (reason := refusal(name))]
    if not is_kip_848(properties):
        return alone
    together = [
        f"{name}: the broker decides it with group.protocol=consumer; leave it out"
        for name in _NOT_WITH_KIP_848
        if name in properties
    ]
    return alone + together + _reports_too_rare(properties.get(_REPORTS))


def is_kip_848(properties: Mapping[str, Value]) -> bool:
    """Return whether the group's members are managed by the broker (KIP-848)."""
    return str(properties.get("group.protocol", "classic")).lower() == "consumer"


def _reports_too_rare(interval: Value | None) -> list[str]:
    if interval is None or (str(interval).isdigit() and 1 <= int(interval) <= _REPORTS_AT_MOST_MS):
        return []
    why = "with group.protocol=consumer: by these reports the runtime notices that brokers are silent"
    return [f"{_REPORTS}: must be 1 to {_REPORTS_AT_MOST_MS} {why}"]
