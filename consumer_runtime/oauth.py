"""OAUTHBEARER tokens from the user's own code, for every client that the runtime makes.

    def token() -> tuple[str, float]:
        return fetched.access_token, fetched.expires_at  # seconds since the epoch

librdkafka asks for a new one when four fifths of a token's life are over. Not here: OpenID Connect, which librdkafka
does by itself with `sasl.oauthbearer.method: oidc`.
"""

import time
from collections.abc import Callable
from typing import Any

import structlog

from consumer_runtime.contract.state import StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.handler import load_attribute

FIELD = "spec.source.kafka.oauthToken"
_PARTS = (2, 3, 4)
_NONE = "none"
"""Stands in when there is no token: the broker refuses it, in so many words. An exception out of the callback, or an
expired token, breaks the client (confluent-kafka 2.16)."""
_AGAIN_SECONDS = 30.0
_log = structlog.get_logger(__name__)
Token = tuple[Any, ...]


def token_callback(entrypoint: str) -> Callable[[str], Token]:
    """Return librdkafka's callback around `module:function`. Raises StartFailure when there is no such function."""
    function = load_attribute(entrypoint, field=FIELD)
    if not callable(function):
        raise StartFailure.because(
            StartReason.HANDLER_UNSUITABLE, field=FIELD, value=entrypoint, remedy="name a function that returns a token"
        )

    def refresh(_: str) -> Token:
        try:
            return checked(function())
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            _log.exception("no token", oauth_token=entrypoint, error=str(error))
            return _NONE, time.time() + _AGAIN_SECONDS

    return refresh


def checked(token: object) -> Token:
    """Return (token, expiry, principal, extensions) as librdkafka wants it. Raises TypeError for another shape."""
    if not isinstance(token, tuple) or len(token) not in _PARTS or not isinstance(token[0], str):
        raise TypeError(
            "a token is (text, expiry in seconds since the epoch), with principal and extensions if need be"
        )
    return (token[0], float(token[1]), *token[2:])
