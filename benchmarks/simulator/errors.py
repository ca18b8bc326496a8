"""The simulator's errors. Nothing here knows where they occur."""


class SimulatorError(Exception):
    """Root of everything that the simulator raises on purpose."""


class WorkloadError(SimulatorError):
    """A workload file that cannot be used; names the file, the field, and what is allowed."""
