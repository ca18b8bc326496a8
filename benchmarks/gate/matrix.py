"""The matrix of the runbook as works: limits by poll sizes on I/O, pools by batches on computing."""

import os
from dataclasses import replace

from benchmarks.compare.job import Kind, Mode
from benchmarks.compare.works import Work

_IN_FLIGHT = (256, 1_024)
_POLL_BATCHES = (500, 1_000)
_PROCESS_BATCHES = (64, 128)
_QUEUE_SIZE = 2_048
RAW = Work(name="raw", mode=Mode.SINGLE, kind=Kind.NOOP)
_IO = Work(name="io5", mode=Mode.ASYNC, kind=Kind.IO, seconds=0.005)
_CPU = Work(name="cpu1", mode=Mode.PROCESS, kind=Kind.CPU, seconds=0.001, max_in_flight=2_000)


def cells() -> dict[str, Work]:
    """Return each setting under its name."""
    cpus = len(os.sched_getaffinity(0))
    waiting = {
        f"async maxInFlight={limit} pollBatchSize={batch}": replace(_IO, max_in_flight=limit, batch_size=batch)
        for limit in _IN_FLIGHT
        for batch in _POLL_BATCHES
    }
    computing = {
        f"process workerPoolSize={pool} batchSize={batch}": replace(
            _CPU, workers=pool, process_batch_size=batch, process_queue_size=_QUEUE_SIZE
        )
        for pool in sorted({max(cpus // 2, 1), cpus})
        for batch in _PROCESS_BATCHES
    }
    return waiting | computing
