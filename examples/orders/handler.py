"""Orders: each is checked, its payment booked and its stock taken. The payment service fails now and then."""

import asyncio
import hashlib
import json

from consumer_runtime import Message, Reject

BOOKING_SECONDS = 0.010
FAILURE_PERCENT = 5


class PaymentUnavailableError(Exception):
    """The payment service did not answer; it will."""


async def handle(message: Message) -> None:
    """Book one order. Orders of one customer share a key, and are booked in their order."""
    order = _order(message)
    await asyncio.sleep(BOOKING_SECONDS)
    if _is_unlucky(order["id"], message.attempt):
        raise PaymentUnavailableError(f"payment of order {order['id']} was not answered")


def _order(message: Message) -> dict[str, object]:
    """No retry helps an order that is none: it goes to the dead letter topic at once."""
    try:
        order = json.loads(message.value or b"")
        if order["amount_cents"] <= 0:
            raise Reject(f"order {order['id']}: amount_cents is {order['amount_cents']}, and must be above 0")
    except (ValueError, TypeError, KeyError) as error:
        raise Reject(f"no order: {error!r}") from error
    return dict(order)


def _is_unlucky(number: object, attempt: int) -> bool:
    """Stand for a service that does not answer 5 calls in 100, different ones each time."""
    drawn = hashlib.sha256(f"{number}/{attempt}".encode()).digest()[0]
    return drawn * 100 < FAILURE_PERCENT * 256
