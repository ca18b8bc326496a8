"""Settings as librdkafka properties: ours first, the user's over them.

Not here: what may be passed through at all (`contract.properties`), making clients (`kafka`, `dead_letter`). librdkafka
checks names and values itself when a client is made.
"""

import os
import re
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException

from consumer_runtime.contract import pod
from consumer_runtime.contract.properties import is_kip_848
from consumer_runtime.contract.settings import KafkaSettings, Membership
from consumer_runtime.contract.state import StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.oauth import token_callback
from consumer_runtime.sources import credentials

_NEEDED_TO_CONNECT = re.compile(r"^(bootstrap\.servers|security\.protocol|sasl\.|oauth_cb)")

Properties = dict[str, Any]
_Client = TypeVar("_Client")
CREDENTIALS = "credentials_location"
"""Among portable properties the folder with the login; librdkafka has none of that name."""

_CLIENT_WIDE = re.compile(
    r"^(client\.|security\.|sasl\.|ssl\.|socket\.|broker\.address|reconnect\.|enable\.ssl|api\.version|log_level|debug)"
)
_FIELDS = {
    "bootstrap.servers": "spec.source.kafka.bootstrapServers",
    "ssl.ca.location": "spec.source.kafka.caSecretRef",
    "ssl.certificate.location": "spec.source.kafka.clientCertificateSecretRef",
    "ssl.key.location": "spec.source.kafka.clientCertificateSecretRef",
}
"""What we set for a user, by the field that says so."""


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
    by_name = {"oauth_cb": settings.oauth_token, CREDENTIALS: settings.credentials_location}
    return client_properties(settings) | {name: value for name, value in by_name.items() if value is not None}


def restored(portable: Properties) -> Properties:
    """Return the properties that were made portable, with the login as it is now.

    Raises StartFailure when the token's function is not there, or the files of the login.
    """
    properties = dict(portable)
    entrypoint, location = properties.get("oauth_cb"), properties.pop(CREDENTIALS, None)
    if entrypoint is not None:
        properties["oauth_cb"] = token_callback(entrypoint)
    if location is not None:
        properties |= dict(zip(_login_names(properties), credentials.read(location), strict=True))
    return properties


def _login(settings: KafkaSettings) -> Properties:
    login: tuple[str | None, str | None] = (
        settings.sasl_username, settings.sasl_password.get_secret_value() if settings.sasl_password else None,
    )  # fmt: skip
    if settings.credentials_location is not None:
        login = credentials.read(settings.credentials_location)
    mechanism = settings.sasl_mechanism.value if settings.sasl_mechanism else None
    names = _login_names({"sasl.mechanism": mechanism})
    token = token_callback(settings.oauth_token) if settings.oauth_token else None
    return dict(zip(names, login, strict=True)) | {"oauth_cb": token}


def _login_names(properties: Properties) -> tuple[str, str]:
    """With OpenID Connect the user name and password of the Secret are the client's id and secret."""
    if credentials.is_client_secret(properties):
        return "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"
    return "sasl.username", "sasl.password"


def is_incremental(properties: Properties) -> bool:
    """Return whether partitions come and go one by one (cooperative-sticky, KIP-848) rather than all at once."""
    if is_kip_848(properties):
        return True
    return "cooperative" in str(properties.get("partition.assignment.strategy", ""))


def invalid_property(error: Exception, properties: Properties) -> StartFailure:
    """Return the failure that says which property librdkafka refused, and why."""
    text = error.args[0].str() if error.args and hasattr(error.args[0], "str") else str(error)
    named = re.findall(r"[a-zA-Z_]+(?:\.[a-zA-Z_]+)+", text) + re.findall(r'"([^"]+)"', text)
    name = next((each for each in named if each in properties), "")
    return StartFailure.because(
        StartReason.INVALID_SETTINGS,
        field=_FIELDS.get(name) or "spec.source.kafka.properties" + (f".{name}" if name else ""),
        value=properties.get(name, ""),
        remedy=f"librdkafka refuses it: {text}",
    )


def made(client: Callable[[Properties], _Client], properties: Properties) -> _Client:
    """Return a client with the properties. Raises StartFailure for one that librdkafka refuses."""
    try:
        return client(properties)
    except (KafkaException, TypeError, ValueError) as error:
        raise invalid_property(error, properties) from error


def require_accepted(settings: KafkaSettings) -> None:
    """Raise StartFailure for a property that librdkafka refuses; nothing connects, and no token is asked for."""
    properties = consumer_properties(settings)
    offline = {name: each for name, each in properties.items() if not _NEEDED_TO_CONNECT.match(name)}
    without_login = settings.security_protocol.removeprefix("SASL_")
    made(Consumer, offline | {"security.protocol": without_login, "log_level": 0}).close()


def _group_protocol(given: dict[str, str | int | float | bool]) -> Properties:
    if is_kip_848(given):
        return {"statistics.interval.ms": 5_000}  # often enough to notice in time that brokers are silent
    return {"partition.assignment.strategy": "cooperative-sticky"}
