"""A cluster that the testbed did not make: that of the user's kube context. Nothing here starts or stops anything."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import MissingToolError


@dataclass(frozen=True)
class CurrentCluster:
    """Where the user's cluster is. Its nodes must reach the images by themselves: there is no way to load one."""

    kubeconfig: Path
    kubectl: Path
    helm: Path

    @property
    def environment(self) -> dict[str, str]:
        """Our own environment with KUBECONFIG set."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}


def find() -> CurrentCluster:
    """The cluster of KUBECONFIG, else of ~/.kube/config, with the kubectl and helm of the PATH.

    Raises:
        MissingToolError: no kubeconfig, no kubectl or no helm.
    """
    configured = os.environ.get("KUBECONFIG", "").split(":")[0]
    kubeconfig = Path(configured) if configured else Path.home() / ".kube" / "config"
    if not kubeconfig.exists():
        raise MissingToolError(f"{kubeconfig} does not exist; set KUBECONFIG to the cluster that is meant")
    return CurrentCluster(kubeconfig, _on_path("kubectl"), _on_path("helm"))


def _on_path(program: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise MissingToolError(f"{program} not found on the PATH; it is needed to work with a cluster of your own")
    return Path(found)
