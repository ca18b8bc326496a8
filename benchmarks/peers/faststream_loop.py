"""faststream over confluent-kafka, in an environment of its own: a subscriber, with as many workers as in flight."""

import asyncio
import logging
from typing import Any

from faststream import AckPolicy
from faststream.confluent import KafkaBroker, KafkaMessage

from benchmarks.compare import job as jobs
from benchmarks.compare.handlers import made_async
from benchmarks.compare.job import Job
from benchmarks.peers.ending import Ending


class _Place:
    """What the handlers of the comparison read."""

    __slots__ = ("offset", "partition")

    def __init__(self, raw: Any) -> None:
        self.partition = raw.partition()
        self.offset = raw.offset()


async def _run(job: Job, ending: Ending) -> None:
    handle = made_async(job)
    broker = KafkaBroker(job.bootstrap_servers, logger=None)

    async def run(body: bytes, message: KafkaMessage) -> None:
        del body
        await handle(_Place(message.raw_message))

    # More workers than one need the acknowledgement that comes before the handler: faststream refuses others.
    broker.subscriber(
        job.topic, group_id=job.group, auto_offset_reset="earliest",
        ack_policy=AckPolicy.ACK_FIRST, max_workers=job.max_in_flight,
    )(run)  # fmt: skip
    await broker.start()
    while not ending.asked:  # noqa: ASYNC110 - a signal sets a flag
        await asyncio.sleep(0.05)
    await broker.stop()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(jobs.of_environment(), Ending()))
    else:
        uvloop.run(_run(jobs.of_environment(), Ending()))
