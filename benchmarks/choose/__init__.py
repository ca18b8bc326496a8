"""A user's own handler, measured in every mode, becomes a ParallelConsumer manifest with reasons.

`python -m benchmarks.choose mypkg.handlers:handle --sample messages.jsonl`. Consumers are measured as in
`benchmarks.scenarios`, on a real Kafka.
"""
