"""What a rate does not say: cost over size, memory, idling, members side by side, what runs again after a kill.

`python -m benchmarks.figures --help`. Systems are started, marked and watched as in `benchmarks.compare`; each figure
has a target and says whether it is met. Not here: peers.
"""
