"""Loads the fixtures of the real parts (kafka, control_plane, kubernetes, prometheus, alertmanager) for every test."""

import signal

pytest_plugins = ["testbed.fixtures"]

# A shell that starts the tests in the background has them ignore Ctrl-C, and all that they start inherits that; tests
# of Ctrl-C then see nothing happen.
signal.signal(signal.SIGINT, signal.default_int_handler)
