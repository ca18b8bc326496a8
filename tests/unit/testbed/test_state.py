from pathlib import Path

import pytest

from testbed import state
from testbed.layout import Instance, Part
from testbed.state import PartState, ProcessRecord


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """An instance of a machine that has no testbed yet."""
    return Instance(0, cache=tmp_path)


def test_what_is_saved_is_loaded(instance: Instance):
    """A second command sees processes and addresses as the first one wrote them."""
    record = ProcessRecord(name="kafka", pid=7, started_ticks=9, log=Path("kafka.log"))
    written = PartState(part=Part.KAFKA, facts={"bootstrap_servers": "127.0.0.1:1"}, processes={"kafka": record})
    state.save(instance, written)
    assert state.load(instance, Part.KAFKA) == written
    assert state.load(instance, Part.KUBERNETES) is None


def test_a_record_of_an_earlier_boot_is_none(instance: Instance):
    """After a reboot the pids are other processes': nothing may be read from them."""
    state.save(instance, PartState(part=Part.KAFKA, boot_id="another"))
    assert state.load(instance, Part.KAFKA) is None


def test_forgotten_is_down(instance: Instance):
    """After `down` there is no record, and forgetting twice is no error."""
    state.save(instance, PartState(part=Part.KAFKA))
    state.forget(instance, Part.KAFKA)
    state.forget(instance, Part.KAFKA)
    assert state.load(instance, Part.KAFKA) is None
