"""A wrong scenario file is refused with the entry and the field."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.scenarios import model
from benchmarks.scenarios.__main__ import _app
from benchmarks.scenarios.errors import ScenarioFileError

GOOD = {
    "name": "custom_test", "num_instances": 50, "strategy": "async", "workload_type": "cpu", "work_duration": 2.0,
    "max_concurrent_jobs": 25, "repeats": 3, "timeout": 120, "job_timeout_ms": 30000,
    "description": "Custom scenario for testing X", "phase": "custom",
}  # fmt: skip


def written(path: Path, content: object) -> Path:
    """A scenario file."""
    file = path / "s.json"
    file.write_text(json.dumps(content))
    return file


def test_documents_own_example_is_accepted(tmp_path) -> None:
    """The JSON of the source document is read with every field."""
    [found] = model.load(written(tmp_path, [GOOD]))
    assert found.model_dump(mode="json") == GOOD


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"strategy": "fiber"}, "field strategy: 'fiber' is not allowed"),
        ({"num_instances": 0}, "field num_instances: 0 is not allowed"),
        ({"workload_type": None}, "field workload_type: None is not allowed"),
        ({"work_duration": -1}, "field work_duration: -1 is not allowed"),
        ({"max_jobs": 3}, "field max_jobs: is no field of a scenario"),
        ({"name": "first"}, "field name: 'first' stands in more than one entry"),
    ],
)
def test_wrong_field_is_named_with_its_entry(tmp_path, change: dict[str, object], told: str) -> None:
    """The message has the number of the entry, the field, and what is there."""
    file = written(tmp_path, [GOOD | {"name": "first"}, GOOD | change])
    with pytest.raises(ScenarioFileError) as raised:
        model.load(file)
    assert told in str(raised.value)
    assert "name" in change or "entry 2 ('custom_test')" in str(raised.value)


def test_missing_field_is_named(tmp_path) -> None:
    """A scenario without what it needs says what."""
    with pytest.raises(ScenarioFileError, match="entry 1, field strategy: is missing"):
        model.load(written(tmp_path, [{"num_instances": 1, "workload_type": "io"}]))


@pytest.mark.parametrize("content", [{}, [], "text", {"scenarios": []}])
def test_file_of_another_shape_is_refused(tmp_path, content: object) -> None:
    """Anything but a list of scenarios is refused."""
    with pytest.raises(ScenarioFileError, match="must be a list"):
        model.load(written(tmp_path, content))


@pytest.mark.parametrize("arguments", [["run", "{}"], ["run", "missing.json"], ["report", "{}"]])
def test_command_says_it_without_traceback(tmp_path, arguments: list[str]) -> None:
    """A user's mistake ends with status 2 and a sentence."""
    file = written(tmp_path, [{"name": "x"}])
    done = CliRunner().invoke(_app, [each.format(file) for each in arguments])
    assert (done.exit_code, "error:" in done.output, "Traceback" in done.output) == (2, True, False)


def test_phase_that_is_not_in_the_file_is_refused(tmp_path) -> None:
    """Phase 9 of a file without it says how to get it."""
    done = CliRunner().invoke(_app, ["run", str(written(tmp_path, [GOOD])), "--phase", "9_process"])
    assert done.exit_code == 2
    assert "--with-process" in done.output
