"""The watches keep the mirror true through every way in which a stream can end. Time is made short, nothing else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from parallel_consumer_operator import watch
from parallel_consumer_operator.errors import ClusterError, ConflictError, DeniedError, NotFoundError, UnavailableError
from parallel_consumer_operator.kinds import CHILDREN, POD
from parallel_consumer_operator.mirror import Mirror, Scope
from parallel_consumer_operator.port import Key, KindRef
from parallel_consumer_operator.resource import names

MAP = KindRef("v1", "ConfigMap")
SHOP = Scope(MAP, "shop")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds."""
    monkeypatch.setattr(watch, "BACKOFF_SECONDS", (0.001, 0.002))
    monkeypatch.setattr(watch, "MISSING_KIND_SECONDS", 0.01)
    monkeypatch.setattr(watch, "FIRST_LIST_SECONDS", 0.2)


def thing(name: str, version: int, owner: str = "orders") -> dict[str, Any]:
    """Return a child of a consumer."""
    labels = {names.LABEL_NAME: owner} if owner else {}
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version), "labels": labels}}


class Server:
    """Objects and streams as an API server has them; what is put into `failures` is raised first, by kind."""

    def __init__(self) -> None:
        self.held: dict[Scope, dict[str, dict[str, Any]]] = {}
        self.version = 1
        self.streams: dict[Scope, asyncio.Queue[tuple[str, dict[str, Any]] | ClusterError | None]] = {}
        self.refusals: dict[KindRef, ClusterError] = {}
        self.lists: list[Scope] = []
        self.begun: list[tuple[Scope, int]] = []

    async def list_all(self, scope: Scope, selector: str) -> tuple[list[dict[str, Any]], int]:
        """Return what is held."""
        assert selector == watch.OURS
        self.lists.append(scope)
        if scope.kind in self.refusals:
            raise self.refusals[scope.kind]
        return list(self.held.get(scope, {}).values()), self.version

    async def changes(self, scope: Scope, selector: str, version: int) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield what is told, until the stream is ended or breaks."""
        assert selector == watch.OURS
        self.begun.append((scope, version))
        while (told := await self.stream(scope).get()) is not None:
            if isinstance(told, ClusterError):
                raise told
            yield told

    def stream(self, scope: Scope) -> asyncio.Queue[tuple[str, dict[str, Any]] | ClusterError | None]:
        """Return the one stream of a scope."""
        return self.streams.setdefault(scope, asyncio.Queue())

    def put(self, manifest: dict[str, Any], scope: Scope = SHOP) -> dict[str, Any]:
        """Store an object without telling of it."""
        self.version = int(manifest["metadata"]["resourceVersion"])
        self.held.setdefault(scope, {})[manifest["metadata"]["name"]] = manifest
        return manifest

    def tell(self, kind: str, manifest: dict[str, Any], scope: Scope = SHOP) -> None:
        """Tell of a change."""
        self.stream(scope).put_nowait((kind, manifest))


class Lab:
    """A mirror that follows a server, and who was woken."""

    def __init__(self) -> None:
        self.server, self.mirror, self.woken = Server(), Mirror(), list[Key]()

    @asynccontextmanager
    async def following(self, *namespaces: str) -> AsyncIterator[None]:
        """Watch while the block runs."""
        async with watch.mirrored(self.server, self.mirror, namespaces, self.woken.append):
            yield


@pytest.fixture
def lab() -> Lab:
    """A fresh one."""
    return Lab()


async def until(holds: Callable[[], Any]) -> None:
    """Wait for something that must come."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - the mirror is a plain value that tells nobody
            await asyncio.sleep(0.001)


async def test_every_kind_is_listed_before_the_first_pass(lab: Lab) -> None:
    """When the block begins the mirror speaks for all kinds: what is not there does not exist."""
    lab.server.put(thing("a", 7))
    async with lab.following("shop"):
        assert all(lab.mirror.covers(kind, "shop") for kind in CHILDREN)
        assert lab.mirror.get(MAP, "shop", "a") == thing("a", 7)
        assert sorted(scope.kind.kind for scope in lab.server.lists) == sorted(kind.kind for kind in CHILDREN)
    assert not lab.mirror.covers(MAP, "shop")


async def test_several_namespaces_are_watched_each_by_itself_and_none_means_all(lab: Lab) -> None:
    """With a Role in two namespaces nothing is asked of the others; without names one watch serves the cluster."""
    async with lab.following("shop", "bank"):
        assert {scope.namespace for scope in lab.server.lists} == {"shop", "bank"}
        assert not lab.mirror.covers(MAP, "other")
    async with lab.following():
        assert lab.mirror.covers(MAP, "other")


async def test_a_change_by_another_hand_wakes_its_consumer_and_our_own_echo_does_not(lab: Lab) -> None:
    """What the mirror has already, from the answer to our write, is no news; neither is an object without our label."""
    async with lab.following("shop"):
        lab.mirror.keep(MAP, thing("a", 8))
        lab.server.tell("MODIFIED", thing("a", 8))
        lab.server.tell("ADDED", thing("stranger", 9, owner=""))
        lab.server.tell("MODIFIED", thing("a", 10))
        await until(lambda: lab.woken)
        assert lab.woken == [Key("shop", "orders")]
        lab.server.tell("DELETED", thing("a", 11))
        await until(lambda: len(lab.woken) == 2)
        assert lab.mirror.get(MAP, "shop", "a") is None


async def test_a_stream_that_ends_is_opened_again_from_where_it_was(lab: Lab) -> None:
    """Bookmarks count too. Nothing is listed again, and nobody is woken for it."""
    async with lab.following("shop"):
        lab.server.tell("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
        lab.server.stream(SHOP).put_nowait(None)
        await until(lambda: (SHOP, 40) in lab.server.begun)
        lab.server.stream(SHOP).put_nowait(UnavailableError("gone for a moment"))
        await until(lambda: lab.server.begun.count((SHOP, 40)) == 2)
        assert lab.server.lists.count(SHOP) == 1
        assert lab.woken == []
        assert lab.mirror.covers(MAP, "shop")


async def test_a_version_that_is_too_old_is_answered_by_a_new_list(lab: Lab) -> None:
    """What changed and what went away while nobody watched is taken from the list, and its consumers are woken."""
    lab.server.put(thing("a", 3))
    lab.server.put(thing("b", 4, owner="bills"))
    async with lab.following("shop"):
        lab.woken.clear()
        del lab.server.held[SHOP]["b"]
        lab.server.put(thing("a", 50))
        lab.server.stream(SHOP).put_nowait(ConflictError("410: too old"))
        await until(lambda: (SHOP, 50) in lab.server.begun)
        assert set(lab.woken) == {Key("shop", "orders"), Key("shop", "bills")}
        assert lab.mirror.get(MAP, "shop", "b") is None


async def test_a_kind_that_the_cluster_lacks_holds_nobody_up_and_is_found_when_it_comes(lab: Lab) -> None:
    """As PodMonitors without the prometheus-operator: known to be missing, asked for again, then watched."""
    lab.server.refusals[MAP] = NotFoundError("404")
    async with lab.following("shop"):
        assert lab.mirror.lacks_kind(MAP, "shop")
        assert not lab.mirror.covers(MAP, "shop")
        del lab.server.refusals[MAP]
        lab.server.put(thing("a", 5))
        await until(lambda: lab.mirror.covers(MAP, "shop"))
        assert not lab.mirror.lacks_kind(MAP, "shop")
        assert lab.mirror.get(MAP, "shop", "a") is not None


async def test_a_kind_that_may_not_be_watched_is_read_one_by_one_and_not_taken_for_missing(lab: Lab) -> None:
    """A role that lacks `list` is not a cluster that lacks the kind: objects would be left out for it."""
    lab.server.refusals[POD] = DeniedError("403")
    async with lab.following("shop"):
        assert not lab.mirror.lacks_kind(POD, "shop")
        assert not lab.mirror.covers(POD, "shop")
        assert lab.mirror.covers(MAP, "shop")


async def test_a_server_that_does_not_answer_holds_the_first_passes_up_only_for_a_while(lab: Lab) -> None:
    """After that the block begins without the kind; it is listed when the server is back."""
    lab.server.refusals[MAP] = UnavailableError("503")
    async with lab.following("shop"):
        assert not lab.mirror.covers(MAP, "shop")
        assert lab.server.lists.count(SHOP) > 1
        del lab.server.refusals[MAP]
        await until(lambda: lab.mirror.covers(MAP, "shop"))
