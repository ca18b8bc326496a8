"""Ours, as a library: the handler of the job under the mode of the job, every guarantee switched on as by default."""

import signal
from typing import Any

import structlog

from benchmarks.compare import job as jobs
from benchmarks.compare.job import Job, Mode
from consumer_runtime import ParallelConsumer, RuntimeSettings

_MODULE = "benchmarks.compare.handlers"


def settings(job: Job) -> RuntimeSettings:
    """Return the job as settings: only knobs that the job names differ from the defaults."""
    execution: dict[str, Any] = {
        "mode": job.mode.value,
        "ordering": job.ordering.value,
        "max_in_flight": job.max_in_flight,
        "poll_batch_size": job.batch_size,
        "worker_pool_size": job.workers,
        "process": {"batch_size": job.process_batch_size, "queue_size": job.process_queue_size},
    }
    attribute = "handle_async" if job.mode is Mode.ASYNC else "handle"
    return RuntimeSettings.for_kafka(
        job.bootstrap_servers,
        topics=[job.topic],
        consumer_group=job.group,
        execution=execution,
        handler={"entrypoint": f"{_MODULE}:{attribute}", "log_context": False},
    )


def main() -> None:
    """Run until told to end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    consumer = ParallelConsumer(settings(jobs.of_environment()))
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    consumer.run()


if __name__ == "__main__":
    main()
