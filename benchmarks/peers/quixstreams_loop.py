"""quixstreams, in an environment of its own: one stream, the handler called with each row."""

import logging
import tempfile
from typing import Any

from quixstreams import Application

from benchmarks.compare import job as jobs
from benchmarks.compare.handlers import made
from benchmarks.compare.job import Job


class _Place:
    """What the handlers of the comparison read."""

    __slots__ = ("offset", "partition")

    def __init__(self, partition: int, offset: int) -> None:
        self.partition = partition
        self.offset = offset


def _run(job: Job, folder: str) -> None:
    handle = made(job)
    application = Application(
        job.bootstrap_servers, consumer_group=job.group, auto_offset_reset="earliest", loglevel=None,
        consumer_extra_config={"fetch.queue.backoff.ms": 2}, state_dir=folder,
    )  # fmt: skip
    from quixstreams.context import message_context

    def run(value: Any) -> None:
        del value
        context = message_context()
        handle(_Place(context.partition, context.offset))

    stream = application.dataframe(application.topic(job.topic, value_deserializer="bytes", key_deserializer="bytes"))
    stream.update(run)
    application.run()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        _run(jobs.of_environment(), scratch)
