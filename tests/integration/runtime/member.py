"""A member of a group as a process of its own, to be killed by tests: `member.py SETTINGS LOG`.

Appends a line `begin|end partition offset` to LOG around each call. A message whose value is `stuck` never ends.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from consumer_runtime import Message, ParallelConsumer, RuntimeSettings


def main(settings_file: str, log_file: str) -> None:
    """Consume until SIGTERM."""
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    settings = RuntimeSettings.model_validate_json(Path(settings_file).read_text())

    async def handle(message: Message) -> None:
        os.write(log, b"begin %d %d\n" % (message.partition, message.offset))
        await asyncio.sleep(3_600 if message.value == b"stuck" else 0.001)
        os.write(log, b"end %d %d\n" % (message.partition, message.offset))

    consumer = ParallelConsumer(settings, handle)
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    consumer.run()


if __name__ == "__main__":
    main(*sys.argv[1:3])
