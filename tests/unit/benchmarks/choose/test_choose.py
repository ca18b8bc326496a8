"""Advice follows from trials, and becomes a manifest that the resource accepts."""

from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from benchmarks.choose import manifest, sample
from benchmarks.choose.__main__ import _app
from benchmarks.choose.advice import NoModeError, advise
from benchmarks.choose.kept import Kept, OtherChoiceError
from benchmarks.choose.trials import Trial, Tried, ladders
from consumer_runtime.contract.settings import Mode

CRD = Path(__file__).resolve().parents[4] / "crds" / "parallelconsumers.yaml"


def tried(mode: Mode, at_once: int, rate: float, **fields: object) -> Tried:
    """A trial's result."""
    values: dict[str, object] = {"handler_ms_p99": 20.0, "cpu_share": 0.1, "rss_mb": 60.0, "succeeded": 100}
    return Tried(Trial(mode, at_once), rate=rate, **(values | fields))


IO = [tried(Mode.SINGLE, 1, 50), tried(Mode.ASYNC, 16, 800), tried(Mode.ASYNC, 256, 9_000),
      tried(Mode.ASYNC, 1_024, 9_500), tried(Mode.PROCESS, 2, 100)]  # fmt: skip
CPU = [tried(Mode.SINGLE, 1, 90, cpu_share=1.0), tried(Mode.THREAD, 4, 95, cpu_share=1.0),
       tried(Mode.PROCESS, 2, 180, cpu_share=1.9), tried(Mode.PROCESS, 4, 185, cpu_share=1.9)]  # fmt: skip
BUSY = [tried(Mode.SINGLE, 1, 90, cpu_share=0.9), tried(Mode.PROCESS, 2, 70, cpu_share=0.7)]
TRIVIAL = [tried(Mode.SINGLE, 1, 400_000, cpu_share=1.0), tried(Mode.THREAD, 1, 200_000, cpu_share=1.2),
           tried(Mode.PROCESS, 2, 200_000, cpu_share=1.9)]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "mode", "at_once"),
    [(IO, Mode.ASYNC, 256), (CPU, Mode.PROCESS, 2), (BUSY, Mode.PROCESS, 2), (TRIVIAL, Mode.SINGLE, 1)],
)
def test_mode_and_the_smallest_setting_that_is_level(found: list[Tried], mode: Mode, at_once: int) -> None:
    """The fastest mode, the smallest of its settings; on a busy machine CPU seconds say what processes would bring."""
    advice = advise(found, cores=2, load=0.0)
    assert (advice.mode, advice.chosen.trial.at_once) == (mode, at_once)


@pytest.mark.parametrize("found", [IO, CPU, BUSY, TRIVIAL])
def test_manifest_is_valid_by_the_crd(found: list[Tried]) -> None:
    """The printed text parses, is valid by the CRD's schema, and every value lies in the bounds that it states."""
    advice = advise(found, cores=2, load=9.0)
    made = manifest.manifest(
        advice, name="x", entrypoint="shop.orders:handle", topic="orders", group="orders", image=None, ordering="key"
    )  # fmt: skip
    parsed = yaml.safe_load(manifest.as_yaml(made, advice.reasons))
    [version] = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    jsonschema.validate(parsed, version["schema"]["openAPIV3Schema"])
    execution = parsed["spec"]["execution"]
    assert all(
        knob["min"] <= execution[name] <= knob["max"] for name, knob in parsed["spec"]["tuning"]["knobs"].items()
    )
    assert "measure again" in " ".join(advice.reasons)


def test_handler_that_never_succeeds_has_no_advice() -> None:
    """What failed everywhere is said, with the reason."""
    with pytest.raises(NoModeError, match="no such table"):
        advise([tried(Mode.SINGLE, 1, 0, succeeded=0, reason_not="no such table")], cores=2, load=0)


def test_modes_fit_the_handler() -> None:
    """Coroutines are not run in threads, nor functions on the loop."""
    assert ladders(is_async=True, cores=2).keys() == {Mode.SINGLE, Mode.ASYNC, Mode.PROCESS}
    assert ladders(is_async=False, cores=2).keys() == {Mode.SINGLE, Mode.THREAD, Mode.PROCESS}


def test_sample_lines_become_messages(tmp_path) -> None:
    """Objects with a value are messages with key and headers, anything else is the value; keys differ by repetition."""
    file = tmp_path / "m.jsonl"
    file.write_text('{"key": "a", "value": {"x": 1}, "headers": {"h": "1"}}\n\n{"order": 7}\n')
    found = list(sample.repeated(sample.read(file), 3))
    assert [(each.key, each.value) for each in found] == [
        (b"a", b'{"x": 1}'), (None, b'{"order": 7}'), (b"a#1", b'{"x": 1}'),
    ]  # fmt: skip
    assert found[0].headers == (("h", b"1"),)


@pytest.mark.parametrize(("text", "told"), [("", "no message"), ('{"a": 1}\n{oops', "line 2")])
def test_wrong_sample_is_refused_with_its_line(tmp_path, text: str, told: str) -> None:
    """The command ends with a sentence."""
    (tmp_path / "m.jsonl").write_text(text)
    done = CliRunner().invoke(_app, ["json:dumps", "--sample", str(tmp_path / "m.jsonl")])
    assert done.exit_code == 1
    assert told in done.stderr


def test_unknown_handler_is_refused(tmp_path) -> None:
    """A typo in the entry point names it."""
    (tmp_path / "m.jsonl").write_text("1\n")
    done = CliRunner().invoke(_app, ["json:dump_it", "--sample", str(tmp_path / "m.jsonl")])
    assert done.exit_code == 1
    assert "dump_it" in done.stderr


def test_resumed_choice_has_every_trial_that_was_made(tmp_path) -> None:
    """Trials come back as they were; what is missing is known by round and setting; the fastest round counts."""
    file, of = tmp_path / "c.json", {"entrypoint": "a:b"}
    begun = Kept.begun(file, of, resume=True)
    begun.add(0, tried(Mode.ASYNC, 16, 800))
    begun.add(1, tried(Mode.ASYNC, 16, 900))
    begun.add(0, tried(Mode.SINGLE, 1, 50, reason_not="no"))
    resumed = Kept.begun(file, of, resume=True)
    assert resumed.best() == [tried(Mode.ASYNC, 16, 900), tried(Mode.SINGLE, 1, 50, reason_not="no")]
    assert not resumed.missing(1, Trial(Mode.ASYNC, 16))
    assert resumed.missing(1, Trial(Mode.SINGLE, 1))
    assert Kept.begun(file, of, resume=False).best() == []


@pytest.mark.parametrize(
    "content", ['{"of": {"entrypoint": "c:d"}, "trials": {}}', '{"of": {"entrypoint": "a:b"}}', "{}"]
)
def test_file_of_another_choice_is_not_resumed(tmp_path, content: str) -> None:
    """Trials of another handler, or none at all, are refused in words."""
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(OtherChoiceError, match="leave --resume out"):
        Kept.begun(tmp_path / "c.json", {"entrypoint": "a:b"}, resume=True)


@pytest.mark.parametrize(
    ("wrong", "status", "told"),
    [
        (["--name", "My App"], 2, "--name"),
        (["--name", "ends-"], 2, "--name"),
        (["--topic", "no topic!"], 2, "--topic"),
        (["--mode", "async"], 1, "try single, thread, process"),
        (["--mode", "auto"], 1, "try single, thread, process"),
    ],
)
def test_wrong_option_is_refused_before_minutes_of_measuring(
    tmp_path, wrong: list[str], status: int, told: str
) -> None:
    """Nothing is measured for a manifest that no server would take, or in a mode that the handler has not."""
    (tmp_path / "m.jsonl").write_text("1\n")
    done = CliRunner().invoke(_app, ["json:dumps", "--sample", str(tmp_path / "m.jsonl"), *wrong])
    assert (done.exit_code, told in " ".join(done.stderr.split())) == (status, True), done.stderr
