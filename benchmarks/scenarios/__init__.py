"""The workbench: a user's kind of work over strategies and settings, on a real Kafka; `python -m benchmarks.scenarios`.

A scenario is a line of a JSON file, its result a line of another. Each run is a consumer in a process of its own
(`member`), so that memory and CPU are its own too. `benchmarks.sweeps`, `.failures` and `.choose` measure by the same
means; pages and plots are in `benchmarks.report`. Not here: comparisons with other consumers (`benchmarks.compare`).
"""
