"""Sweeps of one number at a time, as in the source document: prefetch sizes, and workers of a pool.

`python -m benchmarks.sweeps --help`. Consumers are measured as in `benchmarks.scenarios`, on a real Kafka.
"""
