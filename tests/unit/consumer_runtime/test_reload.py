import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from consumer_runtime import StartFailure, settings_file
from consumer_runtime.contract.choices import StartReason
from consumer_runtime.contract.knobs import Knobs, ProcessKnobs, hot_knobs
from consumer_runtime.contract.settings import RuntimeSettings
from consumer_runtime.reload import SettingsWatch, is_hot, keep_restart_fields, restart_fields

KAFKA = {"bootstrap_servers": ["b:1"], "topics": ["t"], "consumer_group": "g"}


def _content(generation: int, **execution: Any) -> str:
    return yaml.safe_dump({"generation": generation, "source": {"kafka": KAFKA}, "execution": execution})


class _Volume:
    """A ConfigMap's mount: the file is a link through `..data`, which the kubelet swaps in one rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "runtime.yaml"
        self.versions = 0
        self.path.symlink_to(Path("..data") / "runtime.yaml")

    def write(self, content: str) -> None:
        self.versions += 1
        version = self.folder / f"..version_{self.versions}"
        version.mkdir()
        (version / "runtime.yaml").write_text(content, encoding="utf-8")
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")


class _Consumer:
    """Remembers what is in force, as a consumer does; refuses or is busy when told to."""

    def __init__(self) -> None:
        self.settings: RuntimeSettings | None = None
        self.raises: Exception | None = None
        self.is_rejected = False

    def apply(self, settings: RuntimeSettings) -> None:
        if self.raises is not None:
            raised, self.raises = self.raises, None
            raise raised
        self.settings = settings

    def set_rejected(self, rejected: bool) -> None:
        self.is_rejected = rejected


@pytest.fixture
def volume(tmp_path: Path) -> _Volume:
    """Mount a ConfigMap that holds generation 1."""
    mounted = _Volume(tmp_path)
    mounted.write(_content(1, max_in_flight=16))
    return mounted


@pytest.fixture
def consumer() -> _Consumer:
    """Stand where the data plane stands."""
    return _Consumer()


@pytest.fixture
def watch(volume: _Volume, consumer: _Consumer) -> SettingsWatch:
    """Watch the volume; the tests look by themselves, or start the thread."""
    return SettingsWatch(volume.path, settings_file.read(volume.path), consumer, on_rejected=consumer.set_rejected)


def _within(seconds: float, holds: Callable[[], bool]) -> float | None:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if holds():
            return time.monotonic() - began
        time.sleep(0.01)
    return None


def test_a_new_version_is_in_force_within_half_a_second(volume, consumer, watch):
    """As the kubelet writes it: a directory swapped under a link that does not change itself."""
    watch.start()
    volume.write(_content(2, max_in_flight=64))
    took = _within(2, lambda: consumer.settings is not None and consumer.settings.generation == 2)
    watch.stop()
    assert took is not None
    assert took < 0.5
    assert consumer.settings.execution.max_in_flight == 64


def test_a_file_replaced_or_edited_in_place_is_seen_too(tmp_path, consumer):
    """Outside Kubernetes editors do either."""
    path = tmp_path / "plain.yaml"
    path.write_text(_content(1), encoding="utf-8")
    watch = SettingsWatch(path, settings_file.read(path), consumer, on_rejected=consumer.set_rejected)
    watch.look()
    path.write_text(_content(22), encoding="utf-8")
    watch.look()
    assert consumer.settings.generation == 22
    other = tmp_path / "other.yaml"
    other.write_text(_content(333), encoding="utf-8")
    other.replace(path)
    watch.look()
    assert consumer.settings.generation == 333


@pytest.mark.parametrize(
    ("content", "field"),
    [("execution: [", "settings file"), (_content(2, max_in_flight=-1), "spec.execution.maxInFlight")],
)
def test_a_bad_file_changes_nothing_and_is_told_until_a_good_one_comes(volume, consumer, watch, content, field):
    """Metric, log line and /state say it; the last good settings run on; a good file cures all three."""
    volume.write(_content(2, max_in_flight=32))
    watch.look()
    volume.write(content)
    with capture_logs() as logs:
        for _ in range(5):
            watch.look()
    assert consumer.settings.execution.max_in_flight == 32
    assert consumer.is_rejected
    assert watch.rejected is not None
    assert watch.rejected.field == field
    assert [(line["log_level"], line["generation_in_force"]) for line in logs] == [("error", 2)]
    volume.write(_content(3, max_in_flight=48))
    watch.look()
    assert (consumer.settings.generation, consumer.is_rejected, watch.rejected) == (3, False, None)


def test_going_back_to_what_is_in_force_cures_a_rejection(volume, consumer, watch):
    """The operator takes a bad step back by writing the old values."""
    volume.write("nonsense")
    watch.look()
    assert consumer.is_rejected
    volume.write(_content(1, max_in_flight=16))
    watch.look()
    assert (consumer.is_rejected, watch.rejected) == (False, None)


def test_a_file_that_vanishes_is_a_rejection(volume, consumer, watch):
    """Someone deleted the ConfigMap's key; the consumer runs on."""
    watch.look()
    (volume.folder / "..data").unlink()
    watch.look()
    assert watch.rejected is not None
    assert "No such file" in watch.rejected.remedy


def test_what_the_consumer_refuses_is_a_rejection(volume, consumer, watch):
    """A retry policy's class that does not exist shows only when it is applied."""
    consumer.raises = StartFailure.because(
        StartReason.INVALID_SETTINGS, field="spec.retry.policies[0].errors", value="no.such:Error", remedy="correct it"
    )
    volume.write(_content(2, max_in_flight=64))
    watch.look()
    assert consumer.is_rejected
    assert watch.rejected.value == "no.such:Error"


def test_a_busy_consumer_is_asked_again(volume, consumer, watch):
    """In mode single the control thread may be inside a handler for a while; the settings are not forgotten."""
    consumer.raises = TimeoutError()
    volume.write(_content(2, max_in_flight=64))
    watch.look()
    assert consumer.settings is None
    watch.look()
    assert consumer.settings.generation == 2


def test_what_needs_a_restart_waits_for_it_and_is_named(volume, consumer, watch):
    """The hot part of the same file is in force at once."""
    changed = {"generation": 2, "source": {"kafka": KAFKA | {"topics": ["u"]}}}
    volume.write(yaml.safe_dump(changed | {"execution": {"max_in_flight": 99, "shutdown_grace_seconds": 5}}))
    watch.look()
    assert consumer.settings.execution.max_in_flight == 99
    assert consumer.settings.source.kafka.topics == ["t"]
    assert consumer.settings.execution.shutdown_grace_seconds == 30
    assert set(watch.restart_needed) == {"spec.source.kafka.topics", "spec.execution.shutdownGraceSeconds"}
    volume.write(_content(3, max_in_flight=99))
    watch.look()
    assert watch.restart_needed == ()


@pytest.mark.parametrize("name", list(Knobs.model_fields))
def test_a_knob_is_as_hot_as_the_contract_says(name):
    """One source: the knob's own field."""
    assert is_hot(("execution", name)) == (name in hot_knobs())


@pytest.mark.parametrize(
    ("changes", "waiting"),
    [
        ({"log_level": "DEBUG"}, ()),
        ({"retry": {"max_retries": 9}}, ()),
        ({"execution": {"process": {"batch_size": 9}}}, ()),
        ({"dead_letter": {"payload_mode": "metadata_only"}}, ()),
        ({"execution": {"mode": "thread"}}, ("spec.execution.mode",)),
        ({"handler": {"entrypoint": "a:b"}}, ("spec.handler",)),
        ({"http": {"port": 9}}, ("http.port",)),
        ({"dead_letter": {"enabled": True, "topic": "x"}}, ("spec.deadLetter.enabled", "spec.deadLetter.topic")),
    ],
)
def test_which_settings_wait(changes, waiting):
    """And what is handed to the consumer has them as they were at start."""
    before = RuntimeSettings.model_validate({"source": {"kafka": KAFKA}})
    after = RuntimeSettings.model_validate({"source": {"kafka": KAFKA}, **changes})
    assert restart_fields(before, after) == waiting
    live = keep_restart_fields(before, after)
    assert restart_fields(before, live) == ()
    assert (live == after) == (waiting == ())


def test_every_process_knob_states_how_it_changes():
    """Both are hot today; a new one cannot be forgotten."""
    assert all(is_hot(("execution", "process", name)) for name in ProcessKnobs.model_fields)
