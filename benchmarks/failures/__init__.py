"""What failures cost: rates with retries and dead letters, payloads, retry settings, and the price of a pending retry.

`python -m benchmarks.failures --help`. Consumers are measured as in `benchmarks.scenarios`, on a real Kafka.
"""
