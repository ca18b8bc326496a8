import socket
from pathlib import Path

from testbed import ports
from testbed.layout import Instance, Port

LOOPBACK = "127.0.0.1"


def test_a_free_preferred_port_is_taken(tmp_path: Path):
    """What nobody listens on is what the user finds."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        number = probe.getsockname()[1]
    instance = Instance(0, cache=tmp_path, ports={Port.KAFKA: number})
    assert ports.choose(instance, Port.KAFKA, LOOPBACK) == number


def test_a_taken_port_makes_way_for_a_free_one(tmp_path: Path):
    """Somebody else's listener is left alone, and the port given instead can be listened on."""
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        taken = other.getsockname()[1]
        chosen = ports.choose(Instance(0, cache=tmp_path, ports={Port.KAFKA: taken}), Port.KAFKA, LOOPBACK)
        assert chosen != taken
        assert ports.is_free(LOOPBACK, chosen)
        assert not ports.is_free(LOOPBACK, taken)
