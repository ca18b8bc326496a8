"""Loads the fixtures of the real parts (kafka, control_plane, kubernetes, prometheus, alertmanager) for every test."""

pytest_plugins = ["testbed.fixtures"]
