"""The command `replay` on lines that hold decisions of a closed loop; tests/integration replays a real process' own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from made_windows import NOW, applied, cycle, decided, idle, policy, seen
from typer.testing import CliRunner

from parallel_consumer_operator.__main__ import application
from parallel_consumer_operator.tuning.journal import EVENT, Entry


def journal(**spec: Any) -> list[dict[str, Any]]:
    """Return log lines of a consumer that is raised until its lag is gone: steps, verdicts, holds."""
    found, lines, rate, before = cycle(seen(), rules=policy(**spec)), [], 800.0, 16
    for _ in range(40):
        decision = decided(found)
        made = Entry.made(("shop", "orders"), found.policy, found.window, found.memory, found.now, decision)
        lines.append({"event": EVENT, "level": "info", **made.model_dump(mode="json", by_alias=True)})
        limit = decision.memory.knobs.max_in_flight or before
        rate, before = rate * limit / before, limit
        measured = seen(rate=rate, rate_long=rate, in_flight=0.97 * limit) if rate < 4_000 else idle(rate=rate)
        found = applied(found, decision, measured, later=30)
    return lines


def write(folder: Path, lines: list[Any]) -> Path:
    """Write lines as a log."""
    path = folder / "decisions.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def run(*arguments: object) -> tuple[int, str]:
    """Run the command; return its exit code and everything printed."""
    answer = CliRunner().invoke(application, ["replay", *map(str, arguments)])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, answer.output


def test_a_journal_is_decided_the_same_again(tmp_path: Path):
    """Every line, steps among them; what else the operator logs is passed over."""
    lines = journal()
    assert {"Step", "Hold"} <= {line["action"] for line in lines}
    code, said = run(write(tmp_path, [{"event": "watching", "level": "info"}, *lines, ""]))
    assert (code, said.strip()) == (0, "40 decisions, 40 the same, 0 different")


def test_a_line_that_was_decided_otherwise_is_shown(tmp_path: Path):
    """The exit code is 1; the line is named with both outcomes."""
    lines = journal()
    step = next(number for number, line in enumerate(lines) if line["action"] == "Step")
    lines[step] |= {"to_value": 999, "reason": "WorkersBusy"}
    code, said = run(write(tmp_path, lines))
    assert code == 1
    assert f"line {step + 1} (" in said
    assert "shop/orders" in said
    assert "- reason: WorkersBusy" in said
    assert "+ reason: LimitBinding" in said
    assert "- to_value: 999" in said
    assert "40 decisions, 39 the same, 1 different" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{half", ["line 2", "not JSON", "one JSON object for each line"]),
        ("[1]", ["line 2", "list", "one JSON object for each line"]),
        ({"window": {"circumstances": {"mode": "quantum"}}}, ["window.circumstances.mode", "quantum", "async"]),
        ({"window": {"measured": {"rate": -1}}}, ["line 2", "window.measured.rate", "-1", "or equal to 0"]),
        ({"window": {"measured": {"speed": 3}}}, ["line 2", "window.measured.speed", "Extra inputs"]),
        ({"now": "today"}, ["line 2", "now", "today"]),
        ({"policy": {"bounds": {"maxInFlight": {"min": 0}}}}, ["line 2", "policy.bounds.maxInFlight.min", "0"]),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_its_field_and_what_is_allowed(tmp_path: Path, change: Any, words: list[str]):
    """Exit code 2 and one sentence, no traceback."""
    lines: list[Any] = journal()[:3]
    lines[1] = change if isinstance(change, str) else merged(lines[1], change)
    code, said = run(write(tmp_path, lines))
    assert code == 2
    assert all(word in said for word in (*words, "decisions.jsonl")), said


def merged(line: Any, change: Any) -> Any:
    """Return a line with some of its fields replaced."""
    if not isinstance(change, dict):
        return change
    return {**line, **{name: merged(line.get(name, {}), value) for name, value in change.items()}}


def test_a_line_without_a_field_names_it(tmp_path: Path):
    """A field that is missing is said to be required."""
    line = journal()[0]
    del line["memory"]
    code, said = run(write(tmp_path, [line]))
    assert code == 2
    assert "line 1" in said
    assert "memory" in said
    assert "Field required" in said


def test_a_file_without_decisions_is_refused(tmp_path: Path):
    """Nothing to compare is no success; neither is a file that is not there."""
    code, said = run(write(tmp_path, [{"event": "watching"}]))
    assert code == 2
    assert "no decision in it" in said
    code, said = run(tmp_path / "nowhere")
    assert code == 2
    assert "cannot be read" in said


def test_another_policy_is_told_as_a_table_and_a_plot(tmp_path: Path):
    """A lower fence stops where it stands; what the file leaves out stays as recorded; HTML and PNG are real ones."""
    recorded = write(tmp_path, journal())
    other = tmp_path / "policy.yaml"
    other.write_text("knobs: {maxInFlight: {max: 20}}\n")
    code, said = run(recorded, "--what-if", other, "--plot", tmp_path / "plots" / "w.png")
    assert code == 0, said
    assert "Step LimitBinding: maxInFlight 16 -> 32" in " ".join(said.split())
    assert "Step LimitBinding: maxInFlight 16 -> 20" in " ".join(said.split())
    assert (tmp_path / "plots" / "w.png").read_bytes().startswith(b"\x89PNG")
    code, said = run(recorded, "--what-if", other, "--plot", tmp_path / "w.html")
    assert code == 0, said
    page = (tmp_path / "w.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "</svg>" in page


def test_the_same_policy_changes_nothing(tmp_path: Path):
    """A whole ParallelConsumer may be given; with the recorded policy nothing differs."""
    recorded, other = write(tmp_path, journal()), tmp_path / "consumer.yaml"
    other.write_text("kind: ParallelConsumer\nspec: {tuning: {mode: Auto}}\n")
    code, said = run(recorded, "--what-if", other, "--no-plot")
    assert code == 0, said
    assert "would have decided the same" in said
    assert "40 decisions, 0 different" in said


def test_a_mode_that_changes_nothing_recommends(tmp_path: Path):
    """Recommend makes the same proposals and no step."""
    recorded, other = write(tmp_path, journal()), tmp_path / "policy.yaml"
    other.write_text("mode: Recommend\n")
    code, said = run(recorded, "--what-if", other, "--no-plot")
    assert code == 0, said
    assert "Recommend LimitBinding: maxInFlight" in " ".join(said.split())
    assert "Step" not in said.split("What if:")[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mode: Sometimes\n", ["mode", "Sometimes", "'Off', 'Recommend', 'Approve' or 'Auto'"]),
        ("verify: {minGain: 3}\n", ["verify", "minGain", "minGainPercent"]),
        ("verify: {minGainPercent: 300}\n", ["verify.minGainPercent", "300", "less than or equal to 100"]),
        ("colour: red\n", ["colour", "no such field", "behavior, freeze, knobs"]),
        ("knobs: {maxInFlight: {min: 3999, max: 5}}\n", ["knobs.maxInFlight", "min 3999 must be at most max 5"]),
        ("knobs: {maxInFlight: {min: 5000}}\n", ["knobs.maxInFlight", "5000..4000", "min must be at most max"]),
        ("freeze: {excludedPeriods: [{schedule: often, durationSeconds: 60}]}\n", ["schedule", "often", "at least 9"]),
        ("- mode\n", ["the fields of spec.tuning are allowed"]),
        ("a: [\n", ["not YAML", "line 2"]),
    ],
)
def test_a_bad_policy_is_named_with_its_field_and_what_is_allowed(tmp_path: Path, text: str, words: list[str]):
    """Exit code 2 and one sentence that begins with the file."""
    other = tmp_path / "policy.yaml"
    other.write_text(text)
    code, said = run(write(tmp_path, journal()[:2]), "--what-if", other, "--no-plot")
    assert code == 2
    assert all(word in said for word in (*words, "policy.yaml")), said


def test_a_plot_without_matplotlib_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Before anything is decided; a name that is no picture is refused as well."""
    recorded, other = write(tmp_path, journal()[:2]), tmp_path / "policy.yaml"
    other.write_text("mode: Recommend\n")
    code, said = run(recorded, "--what-if", other, "--plot", "picture.gif")
    assert code == 2
    assert ".png, .svg, .html" in said
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, said = run(recorded, "--what-if", other, "--plot", tmp_path / "w.png")
    assert code == 2
    assert "parallel-consumer-operator[bench]" in said
    assert "--no-plot" in said


def test_now_is_part_of_the_input():
    """The journal's time is the decision's own, zone included."""
    assert journal()[0]["now"].startswith(f"{NOW:%Y-%m-%dT%H:%M:%S}")
