"""The targets of the tuner's proof, and which of them a row of the report misses. Pure; measures nothing.

Ratio, knobs, steps, rest, bounds, freezes, and never worse than the start.
"""

import math
from typing import Any

from benchmarks.simulator.workload import Knobs, Workload
from parallel_consumer_operator.tuning.policy import tunable

RATIO = 0.95
"""Of the best static rate, where a knob can help."""
KNOBS = 2.0
"""Times the smallest knobs that carry the best rate."""
SPARE_STEPS = 4
"""Beyond the doublings from start to optimum."""
KEPT = 0.95
"""Of the start's rate, always; and below it for at most one verification."""


def verify_seconds(workload: Workload) -> float:
    """Return how long a step that harms may stand: applied, a whole window measured, seen, and taken back.

    Rates are judged over half a window, which sees the harm go that much later.
    """
    behavior, scrape = workload.bench.behavior, workload.bench.scrape_seconds
    return 1.75 * behavior.window_seconds + 3 * scrape


def steps_allowed(workload: Workload, optimum: Knobs) -> int:
    """Return ceil(log2(optimum / start)) + 4, over the knobs that have to move."""
    doublings = sum(
        abs(math.log2(optimum[knob] / workload.start[knob]))
        for knob in tunable(workload.mode)
        if optimum[knob] > workload.start[knob]
    )
    return math.ceil(doublings) + SPARE_STEPS


def missed(workload: Workload, row: dict[str, Any], optimum: Knobs) -> list[str]:
    """Return a sentence for each target that a row of the report misses."""
    found = [] if row["ratio"] is None else _where_a_knob_can_help(workload, row, optimum)
    # One that has finished more in all works off no backlog at the end, as the start does.
    if row["tuned_rate"] < KEPT * row["start_rate"] and row["details"]["finished_of_start"] < 1:
        found.append(f"tuned_rate {row['tuned_rate']} is below {KEPT} x start_rate {row['start_rate']}")
    for name in ("changes_after_convergence", "bound_violations", "raised_while_frozen"):
        if row[name]:
            found.append(f"{name} {row[name]}, not 0")
    below, longest = row["details"]["seconds_below_start"], verify_seconds(workload)
    if below > longest:
        found.append(f"below the start's rate for {below:.0f} s, longer than a verification ({longest:.0f} s)")
    return found


def _where_a_knob_can_help(workload: Workload, row: dict[str, Any], optimum: Knobs) -> list[str]:
    found = [] if row["ratio"] >= RATIO else [f"ratio {row['ratio']} is below {RATIO}"]
    for knob in tunable(workload.mode):
        # What the tuner had no reason to lower stays where the resource put it.
        most = KNOBS * max(optimum[knob], workload.start[knob] / KNOBS)
        tuned = row["tuned_knobs"][knob.value]
        if tuned > most:
            found.append(f"{knob.value} {tuned} is over {KNOBS:g} x the oracle's {optimum[knob]}")
    allowed = steps_allowed(workload, optimum)
    if row["steps_applied"] > allowed:
        found.append(f"steps_applied {row['steps_applied']}, at most {allowed}")
    return found
