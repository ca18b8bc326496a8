"""The metric catalogue: every name, kind, label and bucket that the runtime exports, written once.

`exposition.py` serves it, the tuner's queries and the runbook's alerts are built from it, and so is the reference page.
Names without the remark "ours" are the source documents' and stay as they are.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Prometheus' own kinds."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One exported metric; `buckets` are upper bounds in seconds, for histograms."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


LATENCY_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Seconds. The Prometheus clients' default buckets, with finer ones below 5 ms (a superset stays compatible)."""

PROCESSED = Metric("consumer_processed_total", Kind.COUNTER, "Messages finished.", ("topic", "partition", "status"))
PROCESSING_LATENCY = Metric(
    "consumer_processing_latency_seconds",
    Kind.HISTOGRAM,
    "From admission to completion of a message: waiting in our queues, and the handler.",
    buckets=LATENCY_BUCKETS,
)
HANDLER_SECONDS = Metric(
    "consumer_handler_seconds",
    Kind.HISTOGRAM,
    "The handler's own service time of one attempt, without any waiting of ours.",
    buckets=LATENCY_BUCKETS,
)
IN_FLIGHT = Metric("consumer_in_flight_count", Kind.GAUGE, "Messages admitted and not finished.")
PARALLEL_LAG = Metric(
    "consumer_parallel_lag",
    Kind.GAUGE,
    "Fetched minus committed. It saturates near max_in_flight: it is not the backlog.",
    ("topic", "partition"),
)
GAP_COUNT = Metric(
    "consumer_gap_count", Kind.GAUGE, "Unfinished ranges below the highest finished offset.", ("topic", "partition")
)
BACKLOG = Metric(
    "consumer_backlog_messages", Kind.GAUGE, "End offset (asked of the broker) minus committed.", ("topic", "partition")
)
QUEUE_DEPTH = Metric("consumer_internal_queue_depth", Kind.GAUGE, "Messages admitted and waiting for a worker.")
OLDEST_TASK = Metric(
    "consumer_oldest_task_duration_seconds", Kind.GAUGE, "How long the longest running handler call has been running."
)
BACKPRESSURE = Metric("consumer_backpressure_active", Kind.GAUGE, "1 while a limit keeps partitions paused.")
METADATA_SIZE = Metric(
    "consumer_metadata_size_bytes", Kind.GAUGE, "Size of the offset map in the last commit.", ("topic", "partition")
)
KNOB = Metric("consumer_knob", Kind.GAUGE, "The value of a knob in force.", ("knob",))
CONFIG_GENERATION = Metric("consumer_config_generation", Kind.GAUGE, "Generation of the settings in force.")
CONFIG_REJECTED = Metric(
    "consumer_config_rejected", Kind.GAUGE, "1 while the settings file is refused and the last good settings run."
)
POLL_FILL = Metric(
    "consumer_poll_fill_ratio", Kind.GAUGE, "Messages returned by polls over messages asked for, smoothed; 0 to 1."
)
WORKER_BUSY = Metric("consumer_worker_busy_seconds_total", Kind.COUNTER, "Seconds that workers spent in handlers.")
LIMIT_FULL = Metric(
    "consumer_limit_full_seconds_total", Kind.COUNTER, "Seconds during which max_in_flight was reached."
)
PAUSES = Metric("consumer_pauses_total", Kind.COUNTER, "Times that partitions were paused for backpressure.")
CPU_USAGE = Metric("consumer_cpu_usage_seconds_total", Kind.COUNTER, "CPU seconds of the runtime and its workers.")
CPU_LIMIT = Metric("consumer_cpu_limit_cores", Kind.GAUGE, "CPU limit of the container; the machine's cores if none.")
MEMORY = Metric("consumer_memory_bytes", Kind.GAUGE, "Working set of the container (cgroup v1 or v2).")
MEMORY_LIMIT = Metric("consumer_memory_limit_bytes", Kind.GAUGE, "Memory limit of the container; 0 if none.")
RETRIES = Metric("consumer_retries_total", Kind.COUNTER, "Attempts scheduled again.", ("reason",))
DEAD_LETTER = Metric("consumer_dead_letter_total", Kind.COUNTER, "Dead letters by outcome.", ("outcome",))
COMMIT_FAILURES = Metric("consumer_commit_failures_total", Kind.COUNTER, "Commits that the broker refused.")
REBALANCES = Metric("consumer_rebalances_total", Kind.COUNTER, "Changes of this member's assignment.")
ASSIGNED = Metric("consumer_assigned_partitions", Kind.GAUGE, "Partitions assigned to this member.")
CIRCUIT_OPEN = Metric("consumer_circuit_open", Kind.GAUGE, "1 while the circuit breaker keeps messages back.")
LOOP_SECONDS = Metric(
    "consumer_loop_seconds_total",
    Kind.COUNTER,
    "Where the control thread's time went: why it is not faster.",
    ("stage",),
)

CATALOGUE: tuple[Metric, ...] = (
    PROCESSED, PROCESSING_LATENCY, HANDLER_SECONDS, IN_FLIGHT, PARALLEL_LAG, GAP_COUNT, BACKLOG, QUEUE_DEPTH,
    OLDEST_TASK, BACKPRESSURE, METADATA_SIZE, KNOB, CONFIG_GENERATION, CONFIG_REJECTED, POLL_FILL, WORKER_BUSY,
    LIMIT_FULL, PAUSES, CPU_USAGE, CPU_LIMIT, MEMORY, MEMORY_LIMIT, RETRIES, DEAD_LETTER, COMMIT_FAILURES, REBALANCES,
    ASSIGNED, CIRCUIT_OPEN, LOOP_SECONDS,
)  # fmt: skip

CLIENT_CONNECTED = Metric("consumer_client_broker_up", Kind.GAUGE, "1 while librdkafka is connected.", ("broker",))
CLIENT_ROUND_TRIP = Metric(
    "consumer_client_round_trip_seconds_p99", Kind.GAUGE, "Request to response, 99th percentile.", ("broker",)
)
CLIENT_THROTTLE = Metric(
    "consumer_client_throttle_seconds", Kind.GAUGE, "Mean time for which the broker throttled us (quotas).", ("broker",)
)
CLIENT_REQUEST_ERRORS = Metric(
    "consumer_client_request_errors_total", Kind.COUNTER, "Requests that failed or timed out.", ("broker",)
)
CLIENT_RECEIVED = Metric("consumer_client_received_bytes_total", Kind.COUNTER, "Bytes received.", ("broker",))
CLIENT_FETCH_QUEUE = Metric("consumer_client_fetch_queue_messages", Kind.GAUGE, "Messages prefetched by librdkafka.")
CLIENT_FETCH_QUEUE_BYTES = Metric("consumer_client_fetch_queue_bytes", Kind.GAUGE, "Bytes prefetched by librdkafka.")

CLIENT_CATALOGUE: tuple[Metric, ...] = (
    CLIENT_CONNECTED, CLIENT_ROUND_TRIP, CLIENT_THROTTLE, CLIENT_REQUEST_ERRORS, CLIENT_RECEIVED, CLIENT_FETCH_QUEUE,
    CLIENT_FETCH_QUEUE_BYTES,
)  # fmt: skip
"""From the Kafka client's own statistics, every 15 s; absent until its first report."""


class Status(StrEnum):
    """Values of the label `status` of consumer_processed_total."""

    SUCCESS = "success"
    FAILED = "failed"
    """Skipped after its retries, without a dead letter topic."""
    DEAD_LETTERED = "dead_lettered"


class DeadLetterOutcome(StrEnum):
    """Values of the label `outcome` of consumer_dead_letter_total."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """One publish attempt that the broker refused or that timed out; the message stays held."""


class RetryReason(StrEnum):
    """Values of the label `reason` of consumer_retries_total."""

    ERROR = "error"
    TIMEOUT = "timeout"
    RETRY_AFTER = "retry_after"
    WORKER_LOST = "worker_lost"


class Stage(StrEnum):
    """Values of the label `stage` of consumer_loop_seconds_total."""

    POLL = "poll"
    """Taking messages from the client."""
    DISPATCH = "dispatch"
    """Admitting messages and handing them to the engine; in mode single the handler itself."""
    COMPLETE = "complete"
    """Booking what the engine finished."""
    COMMIT = "commit"
    WAIT = "wait"
    """Nothing to do but wait, for messages or for completions."""
