"""The orders that the example offers: 1,000 customers, and one order in 5,000 that is none."""

import json

KEYS = 1_000
_BROKEN_EVERY = 5_000


def message(number: int) -> tuple[bytes, bytes]:
    """Return key and value of a message."""
    amount = 0 if number % _BROKEN_EVERY == _BROKEN_EVERY - 1 else 100 + number % 9_900
    return b"customer-%d" % (number % KEYS), json.dumps({"id": number, "amount_cents": amount}).encode()
