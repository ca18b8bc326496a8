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
        ({"name": "first"}, "entry 2, field name: 'first' is that of entry 1"),
        ({"name": "two\nlines"}, r"field name: 'two\nlines' is not allowed"),
        ({"repeats": True}, "field repeats: True is not allowed"),
        ({"timeout": "120"}, "field timeout: '120' is not allowed"),
        ({"strategy": "[/bold]"}, "field strategy: '[/bold]' is not allowed"),
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


def test_entry_that_is_no_object_is_named(tmp_path) -> None:
    """A list that holds something else says where."""
    with pytest.raises(ScenarioFileError, match=r"entry 2, field \(the entry itself\): 5 is no object"):
        model.load(written(tmp_path, [GOOD, 5]))


@pytest.mark.parametrize("content", [b"[{", b"", b"\xff\xfe", b"[" * 100_000])
def test_file_that_is_no_json_is_refused(tmp_path, content: bytes) -> None:
    """Whatever the bytes are, they are a user's mistake and no crash."""
    (tmp_path / "s.json").write_bytes(content)
    with pytest.raises(ScenarioFileError, match="is no JSON"):
        model.load(tmp_path / "s.json")


def test_file_with_a_byte_order_mark_is_read(tmp_path) -> None:
    """As editors on Windows write it."""
    (tmp_path / "s.json").write_text(json.dumps([GOOD]), "utf-8-sig")
    assert len(model.load(tmp_path / "s.json")) == 1


@pytest.mark.parametrize("content", [{}, [], "text", {"scenarios": []}])
def test_file_of_another_shape_is_refused(tmp_path, content: object) -> None:
    """Anything but a list of scenarios is refused."""
    with pytest.raises(ScenarioFileError, match="must be a list"):
        model.load(written(tmp_path, content))


@pytest.mark.parametrize("arguments", [["run", "{}"], ["run", "missing.json"], ["report", "{}"]])
def test_command_says_it_without_traceback(tmp_path, arguments: list[str]) -> None:
    """A user's mistake ends with status 2 and a sentence, whatever brackets are in it."""
    file = written(tmp_path, [{"name": "x", "strategy": "[/]"}])
    done = CliRunner().invoke(_app, [each.format(file) for each in arguments])
    assert (done.exit_code, "error:" in done.output, "Traceback" in done.output) == (2, True, False)


def test_place_that_cannot_be_written_is_told(tmp_path) -> None:
    """A file where a folder must be is a user's mistake, too."""
    (tmp_path / "file").touch()
    results = tmp_path / "r.json"
    results.write_text('{"results": []}')
    for arguments in (["generate", "--output"], ["report", str(results), "--html"]):
        done = CliRunner().invoke(_app, [*arguments, str(tmp_path / "file" / "s")])
        assert (done.exit_code, "error:" in done.output, "Traceback" in done.output) == (1, True, False)


def test_runs_without_anything_in_common_are_told(tmp_path) -> None:
    """A comparison of nothing says so."""
    results = tmp_path / "r.json"
    results.write_text('{"results": []}')
    done = CliRunner().invoke(_app, ["report", str(results), "--compare", str(results)])
    assert (done.exit_code, "nothing to compare" in done.output.replace("\n", " ")) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["test", "--instances", "1000001"],
        ["test", "--work-duration", "3601"],
        ["test", "--max-concurrent-jobs", "100001"],
        ["test", "--repeats", "1001"],
        ["test", "--timeout", "86401"],
        ["generate", "--repeats", "1001"],
    ],
)
def test_option_beyond_what_a_scenario_allows_is_refused(arguments: list[str]) -> None:
    """Options have the bounds of the fields."""
    done = CliRunner().invoke(_app, arguments)
    assert (done.exit_code, arguments[1] in done.output, "Traceback" in done.output) == (2, True, False)


def test_phase_that_is_not_in_the_file_is_refused(tmp_path) -> None:
    """Phase 9 of a file without it says how to get it."""
    done = CliRunner().invoke(_app, ["run", str(written(tmp_path, [GOOD])), "--phase", "9_process"])
    assert done.exit_code == 2
    assert "--with-process" in done.output
