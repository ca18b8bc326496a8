"""What a person may add to the pods: `spec.podTemplate`. The schema is the allow-list.

What is not a field here the API server does not store: host namespaces, hostPath, privileges, other ServiceAccounts.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, JsonValue

from parallel_consumer_operator.resource.model import Model

_OPEN = {"x-kubernetes-preserve-unknown-fields": True}

OpenObject = Annotated[dict[str, JsonValue], Field(json_schema_extra=_OPEN)]
"""An object in Kubernetes' own shape, checked by Kubernetes when the pods are made."""
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Value = Annotated[str, Field(max_length=4096)]
Quantity = Annotated[str, Field(max_length=32)] | int
Words = Annotated[list[Value], Field(max_length=64)]
Objects = Annotated[list[OpenObject], Field(max_length=64)]


class TemplateMetadata(Model):
    """Labels and annotations of the pods; the operator's own win."""

    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """Labels to add."""
    annotations: Annotated[dict[str, Value], Field(max_length=64)] = {}
    """Annotations to add."""


class VolumeMount(Model):
    """Where a volume appears in a container."""

    name: Name
    """The volume's name."""
    mount_path: Annotated[str, Field(min_length=1, max_length=1024)]
    """An absolute path."""
    sub_path: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    """A path within the volume; what is mounted so is not updated while the pod runs."""
    read_only: bool | None = None
    """Whether it cannot be written."""


class Resources(Model):
    """What the container is given, and what it must not exceed; Kubernetes' quantities."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """What is set aside for the container."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """What it must not exceed; workers follow the CPU limit where the spec does not count them."""


class ConsumerContainer(Model):
    """What to add to the container that runs the handler."""

    resources: Resources = Resources()
    """CPU and memory of the consumer."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=64)] = []
    """Volumes of the template to mount."""
    lifecycle: OpenObject | None = None
    """Kubernetes' lifecycle hooks; SIGTERM alone drains the consumer."""


class PullPolicy(StrEnum):
    """Kubernetes' imagePullPolicy."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class PortProtocol(StrEnum):
    """What a port speaks."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class Port(Model):
    """A port that a container listens on, in the pod's own network."""

    container_port: Annotated[int, Field(ge=1, le=65_535)]
    """Its number."""
    name: Annotated[str, Field(min_length=1, max_length=15, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] | None = None
    """A name for it, as for a PodMonitor."""
    protocol: PortProtocol | None = None
    """TCP by default."""


class RestartPolicy(StrEnum):
    """Whether a container that runs before the consumer goes on beside it."""

    ALWAYS = "Always"


class Sidecar(Model):
    """A container beside the consumer; it runs restricted as the consumer does."""

    name: Name
    """Its name."""
    image: Annotated[str, Field(min_length=1, max_length=1024)]
    """Its image."""
    image_pull_policy: PullPolicy | None = None
    """When the node pulls it."""
    command: Words = []
    """Instead of the image's entrypoint."""
    args: Words = []
    """Instead of the image's arguments."""
    env: Objects = []
    """Environment variables."""
    env_from: Objects = []
    """Secrets and ConfigMaps as environment variables."""
    resources: Resources = Resources()
    """Its CPU and memory."""
    ports: Annotated[list[Port], Field(max_length=16)] = []
    """Ports that it listens on."""
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=64)] = []
    """Volumes of the template to mount."""
    lifecycle: OpenObject | None = None
    """Kubernetes' lifecycle hooks."""
    startup_probe: OpenObject | None = None
    """Kubernetes' startup probe."""
    readiness_probe: OpenObject | None = None
    """Kubernetes' readiness probe."""
    liveness_probe: OpenObject | None = None
    """Kubernetes' liveness probe."""


class InitContainer(Sidecar):
    """A container that runs before the consumer; it runs restricted as the consumer does."""

    restart_policy: RestartPolicy | None = None
    """Always: it goes on beside the consumer and ends after it, so that a drain still has it; a proxy belongs here."""


class Volume(Model):
    """A volume from one of these sources; a path of the node is none of them."""

    name: Name
    """Its name."""
    config_map: OpenObject | None = None
    """A ConfigMap."""
    secret: OpenObject | None = None
    """A Secret."""
    empty_dir: OpenObject | None = None
    """Scratch space."""
    persistent_volume_claim: OpenObject | None = None
    """A claim."""
    csi: OpenObject | None = None
    """A CSI driver's inline volume."""
    ephemeral: OpenObject | None = None
    """A claim that lives as long as the pod."""


class TemplateSpec(Model):
    """What to add to the pods' specification."""

    service_account_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """A ServiceAccount that the operator's administrator allows, as for a cloud's workload identity; by default one of
    the resource's own. No token of it is mounted."""

    consumer: ConsumerContainer = ConsumerContainer()
    """The container that runs the handler."""
    sidecars: Annotated[list[Sidecar], Field(max_length=8)] = []
    """Containers beside it. They are told to end together with it: what a drain still needs goes into
    initContainers with restartPolicy Always."""
    init_containers: Annotated[list[InitContainer], Field(max_length=8)] = []
    """Containers that run before it."""
    volumes: Annotated[list[Volume], Field(max_length=32)] = []
    """Volumes for consumer and sidecars."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] = {}
    """Labels that a node must have."""
    affinity: OpenObject | None = None
    """Kubernetes' affinity."""
    tolerations: Objects = []
    """Kubernetes' tolerations."""
    topology_spread_constraints: Objects = []
    """Instead of the spread over nodes that is the default."""
    host_aliases: Objects = []
    """Kubernetes' entries for /etc/hosts, as for brokers without a name in DNS."""
    dns_config: OpenObject | None = None
    """Kubernetes' DNS settings."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """The pods' priority."""
    runtime_class_name: Annotated[str, Field(max_length=253)] | None = None
    """The pods' runtime class."""
    fs_group: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None
    """The group that owns volumes."""


class PodTemplate(Model):
    """An overlay on the pods."""

    metadata: TemplateMetadata = TemplateMetadata()
    """Labels and annotations."""
    spec: TemplateSpec = TemplateSpec()
    """Resources, volumes, sidecars and scheduling."""

    def stated(self, part: str) -> Any:
        """Return a part of the specification in Kubernetes' shape, without what was left out."""
        return self.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True).get(part)
