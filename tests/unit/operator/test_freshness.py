"""A dead watch is noticed, a quiet one is left alone."""

import asyncio
from typing import Any

from parallel_consumer_operator.control import Control
from parallel_consumer_operator.errors import UnavailableError
from parallel_consumer_operator.exposition import STALE_SECONDS, Liveness, OperatorMetrics
from parallel_consumer_operator.freshness import INTERVAL_SECONDS, RESOURCES_AT_ONCE, is_fresh, listen
from parallel_consumer_operator.port import Key


class Reconciler:
    """Passes that do nothing: the loops only have to exist."""

    async def step(self, key: Key) -> float | None:
        """Never come back by itself."""

    def forget(self, key: Key, uid: str) -> list[Key]:  # noqa: ARG002 - the shape of the real one
        """Nobody waits."""
        return []


class Server:
    """What reads say; `asked` counts them."""

    def __init__(self, *manifests: dict[str, Any]) -> None:
        self.held = {Key("shop", each["metadata"]["name"]): each for each in manifests}
        self.reachable, self.asked = True, 0

    async def read_resource(self, key: Key) -> dict[str, Any] | None:
        """Return what is stored."""
        self.asked += 1
        if not self.reachable:
            raise UnavailableError("gone")
        return self.held.get(key)

    async def resources(self, namespaces: tuple[str, ...], *, limit: int | None = None) -> list[dict[str, Any]]:
        """Return what is stored."""
        assert namespaces == ()
        if not self.reachable:
            raise UnavailableError("gone")
        return list(self.held.values())[:limit]


def consumer(name: str, generation: int = 1) -> dict[str, Any]:
    """Return a resource's metadata."""
    return {"metadata": {"namespace": "shop", "name": name, "uid": name, "generation": generation}}


async def told(*manifests: dict[str, Any]) -> Control:
    """Return a control that the watch told of these."""
    control = Control(Reconciler(), OperatorMetrics())  # type: ignore[arg-type]
    for manifest in manifests:
        control.changed(manifest)
    return control


async def test_a_quiet_watch_is_alive():
    """Nothing changed, however long ago: what was told is what is. And with no resource there is nothing to tell."""
    control = await told(consumer("a"))
    assert await is_fresh(Server(consumer("a")), control, 0)
    assert await is_fresh(Server(), await told(), 0)
    await control.stop()


async def test_a_change_that_the_watch_did_not_tell_of_shows_that_it_is_dead():
    """The spec was edited, the watch still has the old generation; once it is told, all is well again."""
    control, server = await told(consumer("a")), Server(consumer("a", generation=2))
    assert not await is_fresh(server, control, 0)
    control.changed(consumer("a", generation=2))
    assert await is_fresh(server, control, 0)
    await control.stop()


async def test_a_watch_that_was_dead_from_the_start_is_noticed():
    """It has told of nothing, and there is something; once it tells, or while the server is away, all is well."""
    control, server = await told(), Server(consumer("a"))
    assert not await is_fresh(server, control, 0)
    server.reachable = False
    assert await is_fresh(server, control, 0)
    server.reachable = True
    control.changed(consumer("a"))
    assert await is_fresh(server, control, 0)
    await control.stop()


async def test_the_process_counts_as_deaf_when_no_look_finds_the_watch_fresh():
    """From the first moment on: a watch that never told of anything has no grace."""
    clock = [0.0]
    liveness, control, server = Liveness(lambda: clock[0]), await told(), Server(consumer("a"))
    listening = asyncio.create_task(listen(server, control, liveness, interval_seconds=0.01))
    await asyncio.sleep(0.05)
    clock[0] = STALE_SECONDS + 1
    await asyncio.sleep(0.05)
    assert not liveness.alive
    control.changed(consumer("a"))
    async with asyncio.timeout(5):
        while not liveness.alive:  # noqa: ASYNC110 - a clock tells nobody
            await asyncio.sleep(0.01)
    listening.cancel()
    await control.stop()


async def test_an_api_server_that_is_gone_is_no_reason_to_restart():
    """Unreachable proves nothing against the watch."""
    control, server = await told(consumer("a")), Server(consumer("a", generation=2))
    server.reachable = False
    assert await is_fresh(server, control, 0)
    await control.stop()


async def test_many_resources_are_looked_at_in_turn():
    """A bounded number of reads each time, and each resource's turn comes."""
    many = [consumer(f"c{n}") for n in range(RESOURCES_AT_ONCE + 1)]
    control = await told(*many)
    server = Server(*many[:-1], consumer(f"c{RESOURCES_AT_ONCE}", generation=2))
    assert await is_fresh(server, control, 0)
    assert server.asked == RESOURCES_AT_ONCE
    assert not await is_fresh(server, control, 1)
    await control.stop()


def test_three_looks_in_vain_end_the_process_and_two_do_not():
    """Between the intervals and the limit there is room for a slow watch."""
    clock = [0.0]
    liveness = Liveness(lambda: clock[0])
    liveness.heard()
    clock[0] = 3 * INTERVAL_SECONDS
    assert liveness.alive
    clock[0] = STALE_SECONDS + 1
    assert not liveness.alive
