"""Decides again what the tuner decided, from its own log lines; and shows what another policy would have done."""
