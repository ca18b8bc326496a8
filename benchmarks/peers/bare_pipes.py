"""Bare pipes to worker processes: marshalled batches of tuples by key, a window of batches, no bookkeeping. Frozen.

Loop: consume a batch, split it by the key's hash, send each worker its part in batches of at most 256; at most four
batches of a worker are unanswered. The worker builds the message object, calls the handler, and answers with a byte.
"""

import gc
import marshal
import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.compare import job as jobs
from benchmarks.compare.handlers import made
from benchmarks.compare.job import Job
from benchmarks.peers import client
from benchmarks.peers.ending import Ending
from consumer_runtime.message import Message

_BATCH = 256
_WINDOW = 4
_WAIT_SECONDS = 0.1


class _Worker:
    def __init__(self, job: Job) -> None:
        ours, theirs = multiprocessing.Pipe()
        self.pipe = ours
        self.unanswered = 0
        process = multiprocessing.get_context("spawn").Process(target=_work, args=(job, theirs), daemon=True)
        process.start()

    def send(self, batch: list[Any]) -> None:
        for start in range(0, len(batch), _BATCH):
            while self.unanswered >= _WINDOW:
                self.pipe.recv_bytes()
                self.unanswered -= 1
            self.pipe.send_bytes(marshal.dumps(batch[start : start + _BATCH]))
            self.unanswered += 1

    def finish(self) -> None:
        while self.unanswered:
            self.pipe.recv_bytes()
            self.unanswered -= 1
        self.pipe.send_bytes(b"")


def _work(job: Job, pipe: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.set_threshold(10_000)
    handle = made(job)
    while data := pipe.recv_bytes():
        now = time.monotonic()
        for partition, offset, key, value, timestamp in marshal.loads(data):  # noqa: S302 - from our own parent
            handle(Message(job.topic, partition, offset, key, value, (), timestamp, None, now))
        pipe.send_bytes(b"+")


def main() -> None:
    """Run until told to end."""
    job, ending = jobs.of_environment(), Ending()
    workers = [_Worker(job) for _ in range(job.workers)]
    consumer = client.subscribed(job)
    while not ending.asked:
        raw = consumer.consume(job.batch_size, 0)
        if not raw:
            first = consumer.poll(_WAIT_SECONDS)
            raw = [] if first is None else [first]
        parts: list[list[Any]] = [[] for _ in workers]
        for each in raw:
            key = each.key()
            row = (each.partition(), each.offset(), key, each.value(), each.timestamp()[1])
            parts[hash(key) % len(workers)].append(row)
        for worker, part in zip(workers, parts, strict=True):
            worker.send(part)
    for worker in workers:
        worker.finish()
    consumer.close()


if __name__ == "__main__":
    main()
