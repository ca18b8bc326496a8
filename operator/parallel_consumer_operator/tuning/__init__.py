"""The tuner: pure functions from what was observed to one explained decision."""
