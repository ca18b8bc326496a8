"""A parallel Kafka consumer: many messages at once, exact offsets, no message lost.

Stands on its own as a library; the operator deploys it as a program. Names are loaded when they are asked for: the
operator imports `consumer_runtime.contract`, and has no Kafka client.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consumer_runtime.consumer import ParallelConsumer
    from consumer_runtime.contract.complaints import InvalidSettingsError
    from consumer_runtime.contract.settings import RuntimeSettings
    from consumer_runtime.errors import ConsumerError, Reject, RetryAfter, StartFailure
    from consumer_runtime.handler import batch, cpu_bound, io_bound, trivial
    from consumer_runtime.message import Message
    from consumer_runtime.user_metrics import count, observe

_HOMES = {
    "ParallelConsumer": "consumer",
    "RuntimeSettings": "contract.settings",
    "ConsumerError": "errors",
    "InvalidSettingsError": "contract.complaints",
    "Reject": "errors",
    "RetryAfter": "errors",
    "StartFailure": "errors",
    "batch": "handler",
    "cpu_bound": "handler",
    "io_bound": "handler",
    "trivial": "handler",
    "Message": "message",
    "count": "user_metrics",
    "observe": "user_metrics",
}

__all__ = [
    "ConsumerError",
    "InvalidSettingsError",
    "Message",
    "ParallelConsumer",
    "Reject",
    "RetryAfter",
    "RuntimeSettings",
    "StartFailure",
    "batch",
    "count",
    "cpu_bound",
    "io_bound",
    "observe",
    "trivial",
]


def __getattr__(name: str) -> Any:
    """Load an exported name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
