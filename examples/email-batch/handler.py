"""E-mails: up to 50 recipients in one call to the mail service, which refuses a call now and then."""

import asyncio
import hashlib

from consumer_runtime import Message, batch

CALL_SECONDS = 0.050
FAILURE_PERCENT = 10


class MailServiceError(Exception):
    """The service refused the whole call; nobody got a mail."""


@batch(50)
async def handle(messages: list[Message]) -> None:
    """Send one call for all of them. When it fails all are tried again, so the call must be able to happen twice."""
    await asyncio.sleep(CALL_SECONDS)
    first = messages[0]
    drawn = hashlib.sha256(f"{first.partition}/{first.offset}/{first.attempt}".encode()).digest()[0]
    if drawn * 100 < FAILURE_PERCENT * 256:
        raise MailServiceError(f"the service refused a call for {len(messages)} recipients")
