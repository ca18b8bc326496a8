"""What a comparison raises on purpose: each message says what was tried, what was seen and what to do."""


class CompareError(Exception):
    """Root of everything that the comparison raises on purpose."""


class PeerUnavailableError(CompareError):
    """A peer cannot be had on this machine; its ratios become null, with this as the reason."""


class RunFailedError(CompareError):
    """A system ended, stood still, lost messages or ran them twice."""
