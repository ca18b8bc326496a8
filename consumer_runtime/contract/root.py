"""The root of what the runtime raises on purpose; a module of its own, since worker processes need no more of us."""


class ConsumerError(Exception):
    """Root of everything that this package raises on purpose."""
