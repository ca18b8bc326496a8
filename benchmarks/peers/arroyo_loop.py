"""arroyo, in an environment of its own: RunTask in mode single, RunTaskWithMultiprocessing in mode process."""

import logging
import signal
from collections.abc import Mapping
from typing import Any

from arroyo import Message, Partition, Topic
from arroyo.backends.kafka import KafkaConsumer, KafkaPayload
from arroyo.backends.kafka.configuration import build_kafka_consumer_configuration
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import (
    CommitOffsets,
    ProcessingStrategy,
    ProcessingStrategyFactory,
    RunTask,
    RunTaskWithMultiprocessing,
)
from arroyo.processing.strategies.run_task_with_multiprocessing import MultiprocessingPool
from arroyo.types import Commit

from benchmarks.compare import handlers
from benchmarks.compare import job as jobs
from benchmarks.compare.job import Job, Mode

_BATCH_SECONDS = 0.05


class _Place:
    """What the handlers of the comparison read."""

    __slots__ = ("offset", "partition")

    def __init__(self, message: Message[KafkaPayload]) -> None:
        self.partition = message.value.partition.index
        self.offset = message.value.offset


def run_one(message: Message[KafkaPayload]) -> None:
    """Run the work; found by its name in worker processes."""
    handlers.handle(_Place(message))


class _Factory(ProcessingStrategyFactory[KafkaPayload]):  # type: ignore[misc]  # arroyo is not there for mypy
    def __init__(self, job: Job) -> None:
        self._job = job
        self._pool = MultiprocessingPool(job.workers) if job.mode is Mode.PROCESS else None

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        del partitions
        last: ProcessingStrategy[Any] = CommitOffsets(commit)
        if self._pool is None:
            return RunTask(run_one, last)
        return RunTaskWithMultiprocessing(
            run_one, last, max_batch_size=self._job.batch_size, max_batch_time=_BATCH_SECONDS, pool=self._pool
        )

    def shutdown(self) -> None:
        if self._pool is not None:
            self._pool.close()


def main() -> None:
    """Run until told to end."""
    logging.disable(logging.ERROR)
    job = jobs.of_environment()
    properties = {"bootstrap.servers": job.bootstrap_servers, "fetch.queue.backoff.ms": 2}
    configuration = build_kafka_consumer_configuration(properties, group_id=job.group, auto_offset_reset="earliest")
    processor = StreamProcessor(KafkaConsumer(configuration), Topic(job.topic), _Factory(job))
    signal.signal(signal.SIGTERM, lambda *_: processor.signal_shutdown())
    processor.run()


if __name__ == "__main__":
    main()
