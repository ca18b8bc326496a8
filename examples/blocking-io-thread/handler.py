"""A handler with a client that blocks: 20 ms for each message, as a database driver without `async` takes."""

import time

from consumer_runtime import Message, io_bound

QUERY_SECONDS = 0.020


@io_bound
def handle(message: Message) -> None:
    """Stand for the query; a real handler would use a connection of its own thread, opened once."""
    time.sleep(QUERY_SECONDS)
