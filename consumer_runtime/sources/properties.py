"""Settings as librdkafka properties: ours first, the user's over them.

Not here: what may be passed through at all (`contract.properties`), making clients (`kafka`, `dead_letter`). librdkafka
checks names and values itself when a client is made.
"""

import os
import re
import socket
from typing import Any

from consumer_runtime.contract import pod
from consumer_runtime.contract.settings import KafkaSettings, Membership, SaslMechanism
from consumer_runtime.contract.state import StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.oauth import token_callback

Properties = dict[str, Any]

_CLIENT_WIDE = re.compile(
    r"^(client\.|security\.|sasl\.|ssl\.|socket\.|broker\.address|reconnect\.|enable\.ssl|api\.version|log_level|debug)"
)


def consumer_properties(settings: KafkaSettings) -> Properties:
    """Return the consumer's properties; what may not be passed through was refused with the settings."""
    given = dict(settings.properties)
    properties = client_properties(settings) | {
        "group.id": settings.consumer_group,
        "auto.offset.reset": settings.auto_offset_reset.value,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # The default of 1000 throttles the draining of a backlog: 2 gave 3-5 times the rate.
        "fetch.queue.backoff.ms": 2,
        # A resumed partition waits until the fetch under way returns: with the default of 500, half a second.
        "fetch.wait.max.ms": 100,
        # More than 50k is slower (cache), and all of it is thrown away by a pause.
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 65_536,
        "statistics.interval.ms": 15_000,
    }
    if settings.topic_pattern is not None:
        properties["topic.metadata.refresh.interval.ms"] = 30_000
    if settings.membership is Membership.STATIC:
        properties["group.instance.id"] = os.environ.get(pod.POD_NAME_VARIABLE) or socket.gethostname()
    return properties | _group_protocol(given) | given


def client_properties(settings: KafkaSettings) -> Properties:
    """Return what every client needs to connect: addresses, credentials, and the user's connection properties."""
    properties: Properties = {
        "bootstrap.servers": ",".join(settings.bootstrap_servers),
        "security.protocol": settings.security_protocol.value,
        "sasl.mechanism": settings.sasl_mechanism.value if settings.sasl_mechanism else None,
        "ssl.ca.location": settings.ca_location,
        "ssl.certificate.location": settings.certificate_location,
        "ssl.key.location": settings.key_location,
        "client.id": "parallel-consumer",
        **_login(settings),
    }
    given = {name: value for name, value in settings.properties.items() if _CLIENT_WIDE.match(name)}
    return {name: value for name, value in (properties | given).items() if value is not None}


def portable_properties(settings: KafkaSettings) -> Properties:
    """Return `client_properties` as plain values, for another process; `restored` makes properties of them there."""
    return client_properties(settings) | ({"oauth_cb": settings.oauth_token} if settings.oauth_token else {})


def restored(portable: Properties) -> Properties:
    """Return the properties that were made portable. Raises StartFailure when the token's function is not there."""
    entrypoint = portable.get("oauth_cb")
    return portable | {"oauth_cb": token_callback(entrypoint)} if entrypoint else portable


def _login(settings: KafkaSettings) -> Properties:
    """With OpenID Connect the user name and password of the Secret are the client's id and secret."""
    password = settings.sasl_password.get_secret_value() if settings.sasl_password else None
    if settings.sasl_mechanism is not SaslMechanism.OAUTHBEARER:
        return {"sasl.username": settings.sasl_username, "sasl.password": password}
    return {
        "sasl.oauthbearer.client.id": settings.sasl_username,
        "sasl.oauthbearer.client.secret": password,
        "oauth_cb": token_callback(settings.oauth_token) if settings.oauth_token else None,
    }


def is_incremental(properties: Properties) -> bool:
    """Return whether partitions come and go one by one (cooperative-sticky, KIP-848) rather than all at once."""
    if properties.get("group.protocol") == "consumer":
        return True
    return "cooperative" in str(properties.get("partition.assignment.strategy", ""))


def invalid_property(error: Exception, properties: Properties) -> StartFailure:
    """Return the failure that says which property librdkafka refused, and why."""
    text = error.args[0].str() if error.args and hasattr(error.args[0], "str") else str(error)
    named = re.search(r'"([a-z_.]+)"', text) or re.search(r"`?([a-z]+(?:\.[a-z]+)+)`?", text)
    name = named.group(1) if named else ""
    return StartFailure.because(
        StartReason.INVALID_SETTINGS,
        field=f"spec.source.kafka.properties.{name}" if name else "spec.source.kafka.properties",
        value=properties.get(name, ""),
        remedy=f"librdkafka refuses it: {text}",
    )


def _group_protocol(given: dict[str, str | int | float | bool]) -> Properties:
    if given.get("group.protocol") == "consumer":
        return {}
    return {"partition.assignment.strategy": "cooperative-sticky"}
