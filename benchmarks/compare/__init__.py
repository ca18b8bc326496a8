"""Ours and the peers side by side on one topic, broker and machine; `python -m benchmarks.compare --help`.

The driver starts each system as a process of its own, tells it its job as JSON, and observes it from outside: progress
and correctness by marks that every handler leaves in shared memory (`marks`), CPU and memory by /proc. Systems are in
`benchmarks.peers`. What runs inside a system (`job`, `marks`, `handlers`) needs the standard library alone, since peers
have environments of their own.
"""
