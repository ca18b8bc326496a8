"""Namespaces that may not be read are told of once, left out, and taken in again."""

import asyncio
from typing import Any

from structlog.testing import capture_logs

from parallel_consumer_operator import territory as module
from parallel_consumer_operator.errors import ClusterError, DeniedError, NotFoundError, UnavailableError
from parallel_consumer_operator.territory import Territory


class Server:
    """Answers for each namespace with the error that is set for it; an empty name stands for the whole cluster."""

    def __init__(self, **errors: ClusterError) -> None:
        self.errors = errors

    async def resources(self, namespaces: tuple[str, ...], *, limit: int | None = None) -> list[dict[str, Any]]:
        """Refuse, or show nothing."""
        assert limit == 1
        error = self.errors.get(namespaces[0] if namespaces else "all")
        if error is not None:
            raise error
        return []


async def test_a_refused_namespace_is_left_out_and_told_once():
    """The others stay in their order; when its right comes, that is told too."""
    server = Server(b=DeniedError("403: forbidden"))
    territory = Territory(server, ("c", "b", "a"))
    with capture_logs() as logged:
        assert await territory.readable() == ("c", "a")
        assert await territory.readable() == ("c", "a")
        server.errors.clear()
        assert await territory.readable() == ("c", "b", "a")
    (refused, allowed) = logged
    assert (refused["log_level"], refused["namespace"], refused["error"]) == ("error", "b", "403: forbidden")
    assert "watchNamespaces" in refused["remedy"]
    assert allowed["namespace"] == "b"


async def test_a_server_that_is_away_changes_nothing():
    """What could be read counts as readable, and what was refused as refused."""
    server = Server(b=DeniedError("403: forbidden"))
    territory = Territory(server, ("a", "b"))
    assert await territory.readable() == ("a",)
    server.errors = {"a": UnavailableError("gone"), "b": UnavailableError("gone")}
    assert await territory.readable() == ("a",)


async def test_the_whole_cluster_has_an_empty_name():
    """It is not there while the definition is not, or may not be read."""
    server = Server()
    territory = Territory(server, ())
    assert await territory.readable() == ("",)
    server.errors["all"] = NotFoundError("404: no such kind")
    with capture_logs() as logged:
        assert await territory.readable() == ()
    assert (logged[0]["namespace"], "crds.install" in logged[0]["remedy"]) == ("all", True)


async def test_a_change_is_noticed(monkeypatch):
    """In both directions, and not before."""
    monkeypatch.setattr(module, "ASK_SECONDS", 0.01)
    server = Server(b=DeniedError("403: forbidden"))
    territory = Territory(server, ("a", "b"))
    waiting = asyncio.create_task(territory.until_not(("a",)))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    server.errors.clear()
    await asyncio.wait_for(waiting, 5)
    waiting = asyncio.create_task(territory.until_not(("a", "b")))
    server.errors["a"] = DeniedError("403: forbidden")
    await asyncio.wait_for(waiting, 5)
