import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed import parts, readiness
from testbed.artifacts import Name
from testbed.kafka import Kafka
from testbed.layout import PROJECT, Instance, Part
from testbed.leases import borrowed

pytestmark = pytest.mark.kafka
BORROWER = """
import sys, time
from pathlib import Path
from testbed.layout import Instance, Part
from testbed.leases import borrowed
with borrowed(Part.KAFKA, instance=Instance(int(sys.argv[1]), cache=Path(sys.argv[2]))):
    print("borrowed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def instance(spare: Callable[..., Instance]) -> Instance:
    """A testbed of the test's own."""
    return spare(Name.KAFKA)


def borrower(instance: Instance) -> subprocess.Popen[str]:
    """Another process, as another pytest worker is, that borrows Kafka until its input is closed."""
    command = [sys.executable, "-c", BORROWER, str(instance.number), str(instance.cache)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert other.stdout is not None
    assert other.stdout.readline() == "borrowed\n"
    return other


def test_what_was_up_stays_up(instance: Instance):
    """A person's broker is used and left running, the same process."""
    parts.up(Part.KAFKA, instance=instance)
    process = Kafka(instance).process
    with borrowed(Part.KAFKA, instance=instance):
        assert Kafka(instance).process == process
    assert Kafka(instance).is_up()


def test_what_was_down_is_taken_down(instance: Instance):
    """A broker that the tests started does not outlive them."""
    with borrowed(Part.KAFKA, instance=instance):
        assert Kafka(instance).is_up()
    assert not Kafka(instance).is_up()


def test_the_last_borrower_takes_it_down(instance: Instance):
    """Two workers share a broker; the one that started it may end first."""
    with borrowed(Part.KAFKA, instance=instance):
        other = borrower(instance)
    assert Kafka(instance).is_up()
    other.communicate(timeout=60)
    assert not Kafka(instance).is_up()


def test_a_killed_borrower_does_not_count(instance: Instance):
    """A worker that was killed holds nothing: the next borrower takes the broker down."""
    other = borrower(instance)
    other.kill()
    other.communicate(timeout=10)
    assert Kafka(instance).is_up()
    with borrowed(Part.KAFKA, instance=instance):
        pass
    assert not Kafka(instance).is_up()


def test_up_makes_a_borrowed_part_stay(instance: Instance):
    """Whoever asks for the broker by name, while tests have it, keeps it."""
    with borrowed(Part.KAFKA, instance=instance):
        parts.up(Part.KAFKA, instance=instance)
    assert Kafka(instance).is_up()


def test_two_commands_at_once_start_one_broker(instance: Instance, tmp_path: Path):
    """`up` in two shells: the second waits for the first, both succeed, one broker runs."""
    script = (
        "import sys; from pathlib import Path; import testbed;"
        "testbed.up(testbed.Part.KAFKA, instance=testbed.Instance(int(sys.argv[1]), cache=Path(sys.argv[2])));"
        "print(testbed.Kafka(testbed.Instance(int(sys.argv[1]), cache=Path(sys.argv[2]))).process.pid)"
    )
    command = [sys.executable, "-c", script, str(instance.number), str(instance.cache)]
    shells = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) for _ in range(2)]
    pids = {int(shell.communicate(timeout=90)[0]) for shell in shells}
    assert pids == {Kafka(instance).process.pid}
    readiness.wait("Kafka", Kafka(instance).ready, seconds=5)
