"""The real runs' errors. Nothing here knows where they occur."""

from benchmarks.simulator.errors import SimulatorError


class RealRunError(SimulatorError):
    """A workload that cannot be run on real parts, or a run that did not come about; says what to do."""
