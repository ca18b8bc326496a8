"""What the chaos harness raises on purpose. A broken promise of the runtime is no error here: it is a verdict."""


class ChaosError(Exception):
    """Root: the harness itself could not do its work, or was asked for something that does not exist."""
