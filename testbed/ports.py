"""Choosing ports that are free. A port is chosen once, at `up`, and recorded; a restart keeps it."""

import socket

from testbed.layout import Instance, Port


def choose(instance: Instance, port: Port, *addresses: str) -> int:
    """The preferred port when it is free on all the addresses, else one that the kernel gives."""
    preferred = instance.preferred(port)
    if all(is_free(address, preferred) for address in addresses):
        return preferred
    return _any_free(addresses)


def is_free(address: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _any_free(addresses: tuple[str, ...]) -> int:
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind((addresses[0], 0))
            number: int = probe.getsockname()[1]
        if all(is_free(address, number) for address in addresses):
            return number
    msg = f"no port is free on all of {', '.join(addresses)}"
    raise OSError(msg)
