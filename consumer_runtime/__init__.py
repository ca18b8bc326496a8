"""A parallel Kafka consumer: many messages at once, exact offsets, no message lost.

Stands on its own as a library; the operator deploys it as a program.
"""

from consumer_runtime.errors import ConsumerError, Reject, RetryAfter, StartFailure
from consumer_runtime.handler import batch, cpu_bound, io_bound, trivial

__all__ = ["ConsumerError", "Reject", "RetryAfter", "StartFailure", "batch", "cpu_bound", "io_bound", "trivial"]
