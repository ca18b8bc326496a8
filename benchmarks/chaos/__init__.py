"""The proof of reliability: real Kafka, real processes, a seeded schedule of faults, a verdict from what was logged.

`plan` and `draws` decide what happens, `runner` lets it happen, `verdict` judges the logs afterwards and is pure.
"""
