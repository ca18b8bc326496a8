"""The systems that are compared, each a program: `python -m benchmarks.peers.raw` with a job in its environment.

Each consumes until it gets SIGTERM. `bare_async`, `bare_pipes` and `raw` are frozen: their loop, batch, window and
librdkafka properties are the limit that others are measured against, and their digests are in build/compare.json.
"""
