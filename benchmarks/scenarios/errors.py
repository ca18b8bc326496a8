"""What the workbench raises on purpose; each message says what to do."""


class WorkbenchError(Exception):
    """Root of everything that the workbench raises on purpose."""


class ScenarioFileError(WorkbenchError):
    """A scenario file cannot be used; the message names entries and fields."""


class MeasureError(WorkbenchError):
    """A consumer that was to be measured did not run."""


class BrokerError(WorkbenchError):
    """There is no Kafka to measure on, or it did not take the messages."""
