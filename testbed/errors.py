"""What the testbed raises: each message says what was tried, what was seen and what to do. No message is made here."""


class TestbedError(Exception):
    """Root of everything that the testbed raises on purpose."""

    __test__ = False  # pytest collects by the name's first letters


class CommandError(TestbedError):
    """A command of a build or of a start failed; the message has the end of its log."""


class NotReadyError(TestbedError):
    """A process ended, or did not answer before its deadline; the message carries the end of its log."""


class MissingToolError(TestbedError):
    """A program that the testbed cannot install by itself (a Go toolchain, Java, Maven) is not on the PATH."""


class NotPermittedError(TestbedError):
    """The part needs root: namespaces, mounts and a network of its own."""


class NotRunningError(TestbedError):
    """A part was asked for something that it can answer only while it runs."""


class NetworkTakenError(TestbedError):
    """The machine already uses an address range of this instance; another instance number has other ranges."""
