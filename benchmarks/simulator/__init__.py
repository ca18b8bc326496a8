"""A discrete-event model of consumers, broker and downstream in virtual time, to try controllers in. Not the runtime.

`workload` says what comes, `world` lets it happen, `telemetry` measures it as Prometheus would, `loop` closes the loop
with a controller, `oracle` finds what the best static settings would have done.
"""
