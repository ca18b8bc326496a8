"""Whether the group still waits for a member that gives partitions back.

Not here: what is done when it does not (`rebalance`).
"""

import time

from confluent_kafka import Consumer

_LOOK_SECONDS = 0.05


def for_ever() -> bool:
    """Where the group cannot move on: the incremental protocols know until the end what a member still owns."""
    return False


class Tenure:
    """Ends when the group's generation, or the member's name in it, is not the one of the beginning.

    The group waits for a member until that has joined again, which librdkafka does when the revoke callback of an eager
    protocol returns. When a topic's metadata changes meanwhile (partitions were added) it joins at once:
    `rd_kafka_cgrp_revoke_rejoin`, as its source was in July 2026, does not look at the callback, and confluent-kafka
    2.16.1 was caught at it. Then others get the partitions while the callback runs, and the group would take a commit
    of ours as one of the new generation.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._began = consumer.consumer_group_metadata()
        self._looked_at = time.monotonic()
        self._is_over = False

    def is_over(self) -> bool:
        """Return whether the group has gone on without us, as of at most 50 ms ago."""
        now = time.monotonic()
        if not self._is_over and now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._is_over = self.is_over_now()
        return self._is_over

    def is_over_now(self) -> bool:
        """Ask the client (one round trip to its thread), however short ago it was asked."""
        return bool(self._consumer.consumer_group_metadata() != self._began)
