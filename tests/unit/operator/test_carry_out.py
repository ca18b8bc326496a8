"""What cannot be carried out is refused before anything is written; the rest is tried on the real API server."""

from typing import Any

import pytest

from parallel_consumer_operator.carry_out import Applied, carry_out
from parallel_consumer_operator.desired.effective import resolve
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.desired.restart import Build
from parallel_consumer_operator.errors import InvalidResourceError
from parallel_consumer_operator.port import Key, KindRef
from parallel_consumer_operator.resource.spec import ParallelConsumerSpec

CSI = {"name": "vault", "csi": {"driver": "secrets.example"}}
TAKEN = {"name": "settings", "emptyDir": {}}


class Empty:
    """A namespace in which there is nothing yet; `written` is what was applied."""

    def __init__(self) -> None:
        self.written: list[str] = []

    async def child(self, key: Key, kind: KindRef, name: str) -> None:
        """Find nothing."""

    async def apply(self, manifest: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Take it."""
        self.written.append(manifest["kind"])
        return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}


async def carried_out(port: Empty, overlay: dict[str, Any]) -> None:
    """Carry out a resource with this overlay."""
    kafka = {"bootstrapServers": ["kafka:9092"], "topics": ["orders"], "consumerGroup": "orders"}
    spec = ParallelConsumerSpec.model_validate(
        {"source": {"kafka": kafka}, "handler": {"entrypoint": "orders:handle"}, "podTemplate": {"spec": overlay}}
    )
    owner, effective = Owner("shop", "orders", "1"), resolve(spec, tuned={}, cpu_limit=None)
    await carry_out(
        port,  # type: ignore[arg-type]
        Key("shop", "orders"), owner, spec, effective, Build("runtime:1"), known_generation=0, applied=Applied(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "overlay",
    [{"serviceAccountName": "cloud"}, {"volumes": [CSI]}, {"volumes": [TAKEN]}],
    ids=["account", "driver", "taken name"],
)
async def test_a_refused_overlay_writes_nothing(overlay: dict[str, Any]) -> None:
    """Not the settings either: pods would run those of an edit that was refused as a whole."""
    port = Empty()
    with pytest.raises(InvalidResourceError):
        await carried_out(port, overlay)
    assert port.written == []


async def test_the_settings_come_first_and_the_workload_last() -> None:
    """Pods find their settings."""
    port = Empty()
    await carried_out(port, {})
    assert (port.written[0], port.written[-1]) == ("ConfigMap", "Deployment")
