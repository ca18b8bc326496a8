"""The operator's own settings: what the command line or the chart says, in one value. Not a resource's spec."""

from dataclasses import dataclass

from parallel_consumer_operator.errors import OperatorError

RUNTIME_IMAGE = "parallel-consumer-runtime:0.1.0"
"""The image of consumer pods whose handler brings none."""


class InvalidOptionError(OperatorError):
    """A command line option that cannot be used; says which and what is allowed."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Everything that holds for all resources of one operator."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty means the whole cluster."""
    runtime_image: str = RUNTIME_IMAGE
    allowed_service_accounts: frozenset[str] = frozenset()
    """ServiceAccounts that pods may run as instead of their resource's own, each as namespace/name."""
    allowed_csi_drivers: frozenset[str] = frozenset()
    """CSI drivers whose inline volumes pods may have."""
    prometheus_url: str = ""
    """Where resources without an address of their own are measured; empty: nowhere."""
    prometheus_token_file: str = ""
    """A file with the bearer token for it, read at each look since tokens are rotated; empty: none."""
    prometheus_ca_file: str = ""
    """A file with the PEM certificates to trust for it; empty: the usual ones."""
    allowed_prometheus: frozenset[str] = frozenset()
    """Addresses that resources may name as their own Prometheus; empty: any."""
    leader_elect: bool = False
    lease_namespace: str = "default"
    """Where the Lease is; the operator's own namespace in a cluster."""
    lease_name: str = "parallel-consumer-operator"
    """The Lease's name; replicas of one operator share it."""
    identity: str = "operator"
    """This process, in the Lease and in events."""
    http_port: int = 8080
    """Metrics and liveness; 0 takes a free port."""
    emergency_brake: bool = False
    """Nothing is tuned anywhere."""
    every_decision: bool = False
    """The log is a journal of the tuner without gaps."""
