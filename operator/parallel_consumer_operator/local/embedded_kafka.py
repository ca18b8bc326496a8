"""The runtime's embedded Kafka as a child process: for the local mode's first minutes, never for a proof."""

import subprocess
import sys
from collections.abc import Sequence

from parallel_consumer_operator.errors import OperatorError


class EmbeddedKafkaFailedError(OperatorError):
    """The embedded Kafka did not start."""


class EmbeddedKafkaProcess:
    """Runs `python -m consumer_runtime embedded-kafka`; `bootstrap_servers` is known after `start`."""

    def __init__(self, topics: Sequence[str]) -> None:
        self._arguments = [part for topic in topics for part in ("--topic", topic)]
        self._process: subprocess.Popen[str] | None = None
        self.bootstrap_servers = ""

    def start(self) -> None:
        """Start it, make the topics with 4 partitions each; raises EmbeddedKafkaFailedError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "consumer_runtime", "embedded-kafka", *self._arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.bootstrap_servers = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.bootstrap_servers:
            self.stop()
            raise EmbeddedKafkaFailedError("the embedded Kafka did not start; is the runtime extra installed?")

    def stop(self) -> None:
        """End it; its messages are gone."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
