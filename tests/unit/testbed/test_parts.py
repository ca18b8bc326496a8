import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testbed import current_cluster, parts, state
from testbed.__main__ import app
from testbed.cluster import Kubernetes
from testbed.errors import MissingToolError, NotRunningError
from testbed.kafka import Kafka
from testbed.layout import CACHE_VARIABLE, Instance, Part
from testbed.monitoring import Prometheus
from testbed.parts import Condition
from testbed.state import PartState, ProcessRecord

COMMANDS = CliRunner()


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    """An instance of a machine that has no testbed yet."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    return Instance(3, cache=tmp_path)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ((), [Part.KAFKA, Part.KUBERNETES, Part.PROMETHEUS]),
        ((Part.PROMETHEUS,), [Part.KUBERNETES, Part.PROMETHEUS]),
        ((Part.PROMETHEUS, Part.KAFKA), [Part.KAFKA, Part.KUBERNETES, Part.PROMETHEUS]),
        ((Part.KUBERNETES,), [Part.KUBERNETES]),
    ],
)
def test_what_a_part_needs_comes_before_it(named: tuple[Part, ...], expected: list[Part]):
    """Prometheus reads its configuration from the cluster; none named means all."""
    assert parts.with_needs(named) == expected


def test_a_fresh_machine_is_down(instance: Instance):
    """Without a record every part is down, and nothing is created by asking."""
    assert {found.condition for found in parts.status(instance)} == {Condition.DOWN}
    assert not instance.run.exists()


def test_a_part_whose_process_ended_is_degraded(instance: Instance):
    """A dead broker is told apart from one that was never started."""
    gone = ProcessRecord(name="kafka", pid=2**22 + 1, started_ticks=1, log=Path("kafka.log"))
    state.save(instance, PartState(part=Part.KAFKA, complete=True, processes={"kafka": gone}))
    kafka, *others = parts.status(instance)
    assert kafka.condition is Condition.DEGRADED
    assert [(process.name, process.pid) for process in kafka.processes] == [("kafka", None)]
    assert {found.condition for found in others} == {Condition.DOWN}


def test_down_on_a_fresh_machine_is_no_error(instance: Instance):
    """`down` can be run at any time, twice too, and leaves no folder of the instance."""
    parts.down(instance=instance)
    parts.down(Part.KUBERNETES, instance=instance)
    assert not instance.run.exists()


@pytest.mark.parametrize(
    "ask",
    [
        lambda instance: Kafka(instance).bootstrap_servers,
        lambda instance: Kubernetes(instance).kubeconfig,
        lambda instance: Prometheus(instance).url,
    ],
)
def test_asking_a_part_that_is_down_says_how_to_start_it(instance: Instance, ask):
    """The error names the command."""
    with pytest.raises(NotRunningError, match="run `python -m testbed up"):
        ask(instance)


def test_status_speaks_to_programs(instance: Instance):
    """One JSON object with every part."""
    told = COMMANDS.invoke(app, ["status", "--instance", "3", "--json"])
    assert told.exit_code == 0
    assert {name: found["state"] for name, found in json.loads(told.stdout).items()} == dict.fromkeys(Part, "down")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["up", "kafka", "--port", "kaffka=1"], 1, "'kaffka' is not a valid Port"),
        (["up", "kafka", "--port", "kafka=many"], 1, "invalid literal for int"),
        (["up", "zookeeper"], 2, "'zookeeper' is not one of"),
        (["status", "--instance", "16"], 2, "less than or equal to 15"),
        (["logs", "kafka"], 1, "no logs of kafka"),
        (["program", "nano"], 2, "'nano' is not one of 'helm'"),
    ],
)
def test_a_mistake_is_answered_without_a_traceback(instance: Instance, argv: list[str], code: int, said: str):
    """The answer names what was wrong and what is allowed."""
    told = COMMANDS.invoke(app, argv)
    assert told.exit_code == code
    assert said in " ".join(told.stderr.replace("│", " ").split())
    assert "Traceback" not in told.stderr


def test_a_current_cluster_needs_a_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Without one the error says which file was looked for."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(MissingToolError, match="none does not exist; set KUBECONFIG"):
        current_cluster.find()


def test_a_current_cluster_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """KUBECONFIG and the programs of the PATH are used as they are."""
    for name in ("kubectl", "helm"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "config").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    found = current_cluster.find()
    assert found.kubeconfig == tmp_path / "config"
    assert found.helm == tmp_path / "helm"
    assert found.environment["KUBECONFIG"] == str(tmp_path / "config")
