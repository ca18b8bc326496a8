"""Loads the fixtures of the real parts (kafka, control_plane, kubernetes, prometheus, alertmanager) for every test."""

import gc
import signal
from collections.abc import Generator

import pytest

pytest_plugins = ["testbed.fixtures"]

# A shell that starts the tests in the background has them ignore Ctrl-C, and all that they start inherits that; tests
# of Ctrl-C then see nothing happen.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report without collecting cycles: CPython 3.11's parser fails when finalizers run while it parses the source."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
