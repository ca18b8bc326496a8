"""A handler that takes a microsecond: it adds up what the messages say."""

from consumer_runtime import Message

totals = {"messages": 0, "bytes": 0}


def handle(message: Message) -> None:
    """Count the message; nothing is waited for, so nothing is won by doing two at once."""
    totals["messages"] += 1
    totals["bytes"] += len(message.value or b"")
