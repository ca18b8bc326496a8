"""The raw loop: consume a batch, call the handler for each message. No ledger, no retries, no limits. Frozen."""

from benchmarks.compare import job as jobs
from benchmarks.compare.handlers import made
from benchmarks.peers import client
from benchmarks.peers.ending import Ending

_WAIT_SECONDS = 0.1


def main() -> None:
    """Run until told to end."""
    job, ending = jobs.of_environment(), Ending()
    handle = made(job)
    consumer = client.subscribed(job)
    while not ending.asked:
        raw = consumer.consume(job.batch_size, 0)
        if not raw:
            first = consumer.poll(_WAIT_SECONDS)
            raw = [] if first is None else [first]
        for message in client.messages(raw):
            handle(message)
    consumer.close()


if __name__ == "__main__":
    main()
