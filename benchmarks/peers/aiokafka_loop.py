"""aiokafka as its users run it for rate: getmany, and the handler awaited for each; no concurrency of its own."""

import asyncio

from aiokafka import AIOKafkaConsumer

from benchmarks.compare import job as jobs
from benchmarks.compare.handlers import made_async
from benchmarks.compare.job import Job
from benchmarks.peers.ending import Ending


async def _run(job: Job, ending: Ending) -> None:
    handle = made_async(job)
    consumer = AIOKafkaConsumer(
        job.topic, bootstrap_servers=job.bootstrap_servers, group_id=job.group, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        while not ending.asked:
            found = await consumer.getmany(timeout_ms=100, max_records=job.batch_size)
            for records in found.values():
                for record in records:
                    await handle(record)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(_run(jobs.of_environment(), Ending()))
