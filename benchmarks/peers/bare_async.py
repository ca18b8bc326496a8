"""Bare asyncio on uvloop: one task per message, a window, and no bookkeeping. Frozen.

Loop: take what is there, as much as the window has room for, make a task of each, let the loop turn once. Batch and
window are the job's, as ours has them.
"""

import asyncio
from typing import Any

import uvloop

from benchmarks.compare import job as jobs
from benchmarks.compare.handlers import made_async
from benchmarks.peers import client
from benchmarks.peers.ending import Ending

_IDLE_SECONDS = 0.001


class _Bare:
    def __init__(self) -> None:
        self.job = jobs.of_environment()
        self.handle = made_async(self.job)
        self.in_flight = 0

    async def run(self, ending: Ending) -> None:
        consumer = client.subscribed(self.job)
        loop = asyncio.get_running_loop()
        while not ending.asked:
            room = min(self.job.max_in_flight - self.in_flight, self.job.batch_size)
            raw = consumer.consume(room, 0) if room else []
            self.in_flight += len(raw)
            for message in client.messages(raw):
                loop.create_task(self._run(message))  # noqa: RUF006 - nobody waits for it: that is what bare means
            await asyncio.sleep(0 if raw else _IDLE_SECONDS)
        while self.in_flight:  # noqa: ASYNC110 - nothing is measured any more
            await asyncio.sleep(_IDLE_SECONDS)
        consumer.close()

    async def _run(self, message: Any) -> None:
        await self.handle(message)
        self.in_flight -= 1


if __name__ == "__main__":
    uvloop.run(_Bare().run(Ending()))
