"""Workload files on real parts: a real Kafka and Prometheus, the runtime's own processes as pods, the operator's loop.

`manifest` turns a workload into a resource, `handlers` do its work, `offer` its arrivals, `stage` runs it once,
`report` compares runs with each other and with the simulator.
"""
