"""The operator's errors: one root, and what each tells the person who reads it. Nothing here knows where they occur."""


class OperatorError(Exception):
    """Root of everything that the operator raises on purpose."""


class InvalidResourceError(OperatorError):
    """A ParallelConsumer that cannot be carried out; names the field, its value and what to do."""

    def __init__(self, *, field: str, value: object, remedy: str) -> None:
        self.field, self.value, self.remedy = field, value, remedy
        super().__init__(f"{field}: {value!r}: {remedy}")


class ClusterError(OperatorError):
    """The Kubernetes API did not do what was asked of it."""


class NotFoundError(ClusterError):
    """The object, or its kind, does not exist."""


class ConflictError(ClusterError):
    """The object changed since it was read."""


class DeniedError(ClusterError):
    """The API server understood and refuses: permissions, or an object that is not valid."""


class UnavailableError(ClusterError):
    """The API server cannot be reached, is overloaded, or did not answer in time: worth trying again."""


class PodUnreachableError(OperatorError):
    """A pod did not answer at `/state`."""


class MetricsUnavailableError(OperatorError):
    """What the tuner needs to know is not to be had: missing, stale, not a number, or of some pods only."""
