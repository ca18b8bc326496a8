"""A parallel Kafka consumer: many messages at once, exact offsets, no message lost.

Stands on its own as a library; the operator deploys it as a program.
"""
