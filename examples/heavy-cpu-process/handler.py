"""A handler that computes: about 10 ms of a core for each message, as an image or a model's input would take."""

import hashlib

from consumer_runtime import Message, cpu_bound

ROUNDS = 6_000


@cpu_bound
def handle(message: Message) -> None:
    """Stretch the value into a key; Python's lock is held meanwhile, so only other processes can work beside it."""
    digest = message.value or b""
    for _ in range(ROUNDS):
        digest = hashlib.sha256(digest).digest()
