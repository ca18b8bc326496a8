import ipaddress
import itertools
from pathlib import Path

import pytest

from testbed.layout import CACHE_VARIABLE, INSTANCE_VARIABLE, LAST_INSTANCE, Instance, Port, cache_root, instance_number

INSTANCES = [Instance(number, cache=Path("cache")) for number in range(LAST_INSTANCE + 1)]


def test_instances_share_no_name_port_or_folder():
    """Two testbeds on one machine never meet: not in a name, not in a port, not in a folder."""
    for first, second in itertools.combinations(INSTANCES, 2):
        assert first.name != second.name
        assert first.run != second.run
        assert not {first.preferred(port) for port in Port} & {second.preferred(port) for port in Port}


def test_ranges_of_all_instances_are_disjoint():
    """No address means two things, neither within an instance nor between two."""
    ranges = [
        ipaddress.ip_network(text)
        for instance in INSTANCES
        for text in (instance.link_range, instance.pod_range, instance.service_range)
    ]
    assert not [pair for pair in itertools.combinations(ranges, 2) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("instance", INSTANCES)
def test_addresses_lie_in_their_ranges(instance: Instance):
    """Host and node are on the link, the API server's cluster address is the first of the Services'."""
    link = ipaddress.ip_network(instance.link_range)
    assert ipaddress.ip_address(instance.host_address) in link
    assert ipaddress.ip_address(instance.node_address) in link
    assert ipaddress.ip_address(instance.api_service_address) == ipaddress.ip_network(instance.service_range)[1]


def test_ports_of_one_instance_differ_and_are_not_ephemeral():
    """No two listeners want one port, and no outgoing connection takes one by chance."""
    for instance in INSTANCES:
        numbers = [instance.preferred(port) for port in Port]
        assert len(set(numbers)) == len(numbers)
        assert max(numbers) < 32768


def test_a_port_can_be_chosen():
    """A port named by the user goes before the preferred one; the others stay."""
    instance = Instance(0, cache=Path("cache"), ports={Port.KAFKA: 29092})
    assert instance.preferred(Port.KAFKA) == 29092
    assert instance.preferred(Port.PROMETHEUS) == Instance(0, cache=Path("cache")).preferred(Port.PROMETHEUS)


def test_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The variable decides where everything is kept; without it, a folder of the user's."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_root().is_relative_to(Path.home())


@pytest.mark.parametrize("text", ["16", "-1", "two", ""])
def test_a_bad_instance_number_names_variable_value_and_range(monkeypatch: pytest.MonkeyPatch, text: str):
    """The error says which variable, what it holds and what is allowed."""
    monkeypatch.setenv(INSTANCE_VARIABLE, text)
    with pytest.raises(ValueError, match=rf"{INSTANCE_VARIABLE} is '{text}'; allowed are 0 to 15"):
        instance_number()
