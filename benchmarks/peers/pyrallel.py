"""pyrallel-consumer, in an environment of its own (Python 3.12), with the window and batch that ours has."""

import asyncio
import logging
from typing import Any

from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, ParallelConsumerConfig, ProcessConfig
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import ExecutionMode, OrderingMode

from benchmarks.compare import job as jobs
from benchmarks.compare.job import Job, Mode, Ordering
from benchmarks.peers.ending import Ending
from benchmarks.peers.pyrallel_work import run_in_loop, run_in_process


def _config_by_default(job: Job) -> Any:
    mode = ExecutionMode.PROCESS if job.mode is Mode.PROCESS else ExecutionMode.ASYNC
    ordering = OrderingMode.KEY_HASH if job.ordering is Ordering.KEY else OrderingMode.UNORDERED
    return KafkaConfig(
        BOOTSTRAP_SERVERS=[job.bootstrap_servers],
        CONSUMER_GROUP=job.group,
        AUTO_OFFSET_RESET="earliest",
        parallel_consumer=ParallelConsumerConfig(ordering_mode=ordering, execution=ExecutionConfig(mode=mode)),
    )


def _config(job: Job) -> Any:
    execution = ExecutionConfig(
        mode=ExecutionMode.PROCESS if job.mode is Mode.PROCESS else ExecutionMode.ASYNC,
        max_in_flight=job.max_in_flight,
        process_config=ProcessConfig(process_count=job.workers, batch_size=128, queue_size=4_096),
    )
    is_by_key = job.ordering is Ordering.KEY
    return KafkaConfig(
        BOOTSTRAP_SERVERS=[job.bootstrap_servers],
        CONSUMER_GROUP=job.group,
        AUTO_OFFSET_RESET="earliest",
        parallel_consumer=ParallelConsumerConfig(
            poll_batch_size=job.batch_size,
            worker_pool_size=job.workers,
            ordering_mode=OrderingMode.KEY_HASH if is_by_key else OrderingMode.UNORDERED,
            execution=execution,
        ),
    )


async def _run(job: Job, ending: Ending, *, is_tuned: bool) -> None:
    worker = run_in_process if job.mode is Mode.PROCESS else run_in_loop
    config = _config(job) if is_tuned else _config_by_default(job)
    consumer = PyrallelConsumer(config=config, worker=worker, topic=job.topic)
    await consumer.start()
    while not ending.asked:  # noqa: ASYNC110 - a signal sets a flag
        await asyncio.sleep(0.05)
    await consumer.stop()


def main(*, is_tuned: bool = True) -> None:
    """Run until told to end."""
    logging.disable(logging.WARNING)
    asyncio.run(_run(jobs.of_environment(), Ending(), is_tuned=is_tuned))


if __name__ == "__main__":
    main()
