"""The performance gate: a small matrix of settings, each as a ratio to the raw loop, against this machine's stored run.

`make bench-gate`. Not here: peers and targets (`benchmarks.compare`).
"""
