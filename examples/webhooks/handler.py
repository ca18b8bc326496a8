"""Webhooks: each message is delivered by an HTTP POST. The receiver may say 429 (slow down) or 503 (not now)."""

import os
import urllib.error
import urllib.request

from consumer_runtime import Message, Reject, RetryAfter

URL = os.environ.get("WEBHOOK_URL", "http://127.0.0.1:8081/")
TIMEOUT_SECONDS = 5.0
_TOO_MANY_REQUESTS = 429


class RateLimitedError(Exception):
    """The receiver wants fewer requests, and does not say when."""


class ReceiverUnavailableError(Exception):
    """The receiver is down for now, or cannot be reached."""


def handle(message: Message) -> None:
    """Deliver one webhook. What the receiver will never take goes to the dead letter topic without a retry."""
    request = urllib.request.Request(URL, data=message.value or b"", method="POST")  # noqa: S310 - the operator's own address
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310 - same
            return
    except urllib.error.HTTPError as error:
        raise _of_status(error) from error
    except OSError as error:
        raise ReceiverUnavailableError(f"{URL}: {error}") from error


def _of_status(error: urllib.error.HTTPError) -> Exception:
    """Return what the status means for the message: when to try again, by which policy, or never."""
    if error.code == _TOO_MANY_REQUESTS:
        told = error.headers.get("Retry-After")
        return RetryAfter(float(told), "429") if told else RateLimitedError(f"{URL}: 429")
    if error.code >= 500:  # noqa: PLR2004 - HTTP's own border
        return ReceiverUnavailableError(f"{URL}: {error.code}")
    return Reject(f"{URL}: {error.code}")
