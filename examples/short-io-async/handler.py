"""A handler that waits: 20 ms for each message, as a call to a database or a service over the network would."""

import asyncio

from consumer_runtime import Message

SERVICE_SECONDS = 0.020


async def handle(message: Message) -> None:
    """Stand for the call; a real handler would send `message.value` somewhere and await the answer."""
    await asyncio.sleep(SERVICE_SECONDS)
