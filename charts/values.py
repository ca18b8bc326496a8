"""The chart's values, written once: types, bounds, defaults and words; `generate.py` makes the chart's files from here.

Says nothing about what a value does to a manifest; that is the templates'.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Unknown values are refused; names are camelCase, as Helm's users expect."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, alias_generator=to_camel, populate_by_name=True
    )


Name = Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$")]
"""A Kubernetes name, or empty for the default."""
Strings = Annotated[dict[str, str], Field(max_length=64)]
Quantity = Annotated[str, Field(pattern=r"^[0-9.]+([eEinumkKMGTP]i?[0-9]*)?$")] | Annotated[float, Field(gt=0)]
Interval = Annotated[str, Field(pattern=r"^[1-9][0-9]*(ms|s|m)$")]


class PullPolicy(StrEnum):
    """Kubernetes' imagePullPolicy."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Image(Model):
    """A container image."""

    repository: Annotated[str, Field(min_length=1, max_length=512)]
    """Name of the image, with its registry where it is pulled from one."""
    tag: Annotated[str, Field(max_length=128)] = ""
    """Tag; empty means the chart's appVersion."""
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Digest, such as `sha256:...`; wins over the tag."""


class OperatorImage(Image):
    """The operator's image."""

    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    """When the node pulls it."""


class Runtime(Model):
    """The consumer pods."""

    image: Image = Image(repository="parallel-consumer-runtime")
    """The image of consumer pods whose resource names none of its own."""
    allowed_service_accounts: Annotated[
        list[Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+$")]], Field(max_length=256)
    ] = []
    """ServiceAccounts, each as namespace/name, that `spec.podTemplate.spec.serviceAccountName` may name."""
    allowed_csi_drivers: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=63)]],
        Field(max_length=64),
    ] = []
    """CSI drivers whose inline volumes `spec.podTemplate.spec.volumes` may ask for."""


class ObjectRef(Model):
    """An object in the release's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Its name."""


class Crds(Model):
    """The CustomResourceDefinition."""

    install: bool = True
    """Install the definition with the chart, and upgrade it with the chart; needs rights on the whole cluster."""
    keep: bool = True
    """Keep the definition, and with it every ParallelConsumer and its pods, when the chart is uninstalled."""


class Rbac(Model):
    """What the operator and people may do."""

    create: bool = True
    """Create the operator's roles and bindings: a ClusterRole, or with `watchNamespaces` one Role in each of them."""
    aggregate: bool = True
    """Let the cluster's own roles view, edit and admin cover ParallelConsumers; not with `watchNamespaces`."""


class ServiceAccount(Model):
    """Who the operator is to the API server."""

    create: bool = True
    """Create it."""
    name: Name = ""
    """Its name; empty means the release's full name, or `default` when it is not created."""
    annotations: Strings = {}
    """Annotations, such as those of a cloud's workload identity."""


class LeaderElection(Model):
    """One of several replicas works, the others stand by."""

    enabled: bool = True
    """Hold a Lease in the release's namespace while working. Needed with more than one replica."""


class LogLevel(StrEnum):
    """Names of Python's levels."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    TEXT = "text"


class Log(Model):
    """The operator's log."""

    level: LogLevel = LogLevel.INFO
    """The least important line shown."""
    format: LogFormat = LogFormat.JSON
    """How log lines look: one JSON object each, or text for people."""


class Tuning(Model):
    """What holds for the tuning of every resource."""

    emergency_brake: bool = False
    """Change no knob of any consumer, whatever the resources say."""


class Prometheus(Model):
    """Where the tuner measures."""

    url: Annotated[str, Field(max_length=2048, pattern=r"^(https?://[^\s]+)?$")] = ""
    """Base URL, such as `http://prometheus-operated.monitoring:9090`; a resource may name its own. Empty: no tuning."""
    token_file: Annotated[str, Field(max_length=1024, pattern=r"^(/[^\s]+)?$")] = ""
    """A file with the bearer token for it, read at each look; the pod's own token is in
    `/var/run/secrets/kubernetes.io/serviceaccount/token`. Empty: none."""
    ca_file: Annotated[str, Field(max_length=1024, pattern=r"^(/[^\s]+)?$")] = ""
    """A file with the PEM certificates to trust for it, mounted by `extraVolumes`. Empty: the usual ones."""
    allowed_addresses: Annotated[
        list[Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$", max_length=2048)]], Field(max_length=256)
    ] = []
    """Base URLs that resources may name as their own, each as it is written there; empty: any."""


class PodMonitor(Model):
    """How Prometheus finds the operator."""

    enabled: bool = False
    """Create a PodMonitor; needs the prometheus-operator's definitions."""
    labels: Strings = {}
    """Labels by which a Prometheus selects its PodMonitors."""
    interval: Interval = "30s"
    """Time between two scrapes, with its unit."""


class PrometheusRule(Model):
    """Alerts about the operator itself; those about consumers are in each resource's own rule."""

    enabled: bool = False
    """Create a PrometheusRule; needs the prometheus-operator's definitions."""
    labels: Strings = {}
    """Labels by which a Prometheus selects its rules."""


class Dashboard(Model):
    """A Grafana dashboard of the consumers."""

    enabled: bool = False
    """Create a ConfigMap with the dashboard, which Grafana's sidecar loads."""
    labels: Strings = {"grafana_dashboard": "1"}
    """Labels by which the sidecar finds it."""


class Metrics(Model):
    """The operator's own metrics."""

    pod_monitor: PodMonitor = PodMonitor()
    """How Prometheus finds the operator."""
    prometheus_rule: PrometheusRule = PrometheusRule()
    """Alerts about the operator itself."""
    dashboard: Dashboard = Dashboard()
    """A Grafana dashboard of the consumers."""


class Amounts(Model):
    """CPU and memory."""

    cpu: Quantity | None = None
    """Cores, such as `100m`."""
    memory: Quantity | None = None
    """Bytes, such as `128Mi`."""


class Resources(Model):
    """What the operator's container asks for and may use."""

    requests: Amounts = Amounts(cpu="50m", memory="128Mi")
    """What the scheduler reserves."""
    limits: Amounts = Amounts(memory="256Mi")
    """What the container may use; no CPU limit by default, so that a burst is not throttled."""


class Toleration(Model):
    """A Kubernetes toleration."""

    key: str | None = None
    operator: Annotated[str, Field(pattern="^(Exists|Equal)$")] | None = None
    value: str | None = None
    effect: Annotated[str, Field(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$")] | None = None
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None


class PodDisruptionBudget(Model):
    """What a node's drain may do; made with more than one replica."""

    enabled: bool = True
    """Create it."""
    max_unavailable: Annotated[int, Field(ge=1)] = 1
    """Replicas that may be away at once."""


class NetworkPolicy(Model):
    """Who may reach the operator."""

    enabled: bool = False
    """Allow only the port of metrics and probes in; what the operator reaches out to stays open."""


class EnvironmentVariable(Model):
    """An environment variable."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    value: Annotated[str, Field(max_length=4096)]


class Values(Model):
    """Values of the chart parallel-consumer-operator."""

    global_: Annotated[dict[str, Any], Field(alias="global")] = {}
    """Values of a parent chart, which Helm hands to every subchart; not used here."""
    name_override: Name = ""
    """In place of the chart's name in the names of objects."""
    fullname_override: Name = ""
    """In place of release and chart name in the names of objects."""
    image: OperatorImage = OperatorImage(repository="parallel-consumer-operator")
    """The operator's image."""
    runtime: Runtime = Runtime()
    """The consumer pods."""
    image_pull_secrets: Annotated[list[ObjectRef], Field(max_length=16)] = []
    """Secrets by which the operator's image is pulled."""
    replicas: Annotated[int, Field(ge=0, le=10)] = 1
    """Operator pods; one works, the others stand by."""
    leader_election: LeaderElection = LeaderElection()
    """One of several replicas works, the others stand by."""
    watch_namespaces: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=100)] = []
    """Namespaces to look after, each with a Role and no ClusterRole; empty means the whole cluster."""
    prometheus: Prometheus = Prometheus()
    """Where the tuner measures."""
    tuning: Tuning = Tuning()
    """What holds for the tuning of every resource."""
    log: Log = Log()
    """The operator's log."""
    crds: Crds = Crds()
    """The CustomResourceDefinition."""
    rbac: Rbac = Rbac()
    """What the operator and people may do."""
    service_account: ServiceAccount = ServiceAccount()
    """Who the operator is to the API server."""
    metrics: Metrics = Metrics()
    """The operator's own metrics."""
    resources: Resources = Resources()
    """What the operator's container asks for and may use."""
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    """What a node's drain may do; made with more than one replica."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """Who may reach the operator."""
    extra_env: Annotated[list[EnvironmentVariable], Field(max_length=64)] = []
    """Further environment variables of the operator, such as those of a proxy."""
    extra_volumes: Annotated[list[dict[str, Any]], Field(max_length=32)] = []
    """Further volumes of the operator's pods in Kubernetes' own shape, as for `prometheus.caFile`."""
    extra_volume_mounts: Annotated[list[dict[str, Any]], Field(max_length=32)] = []
    """Where they appear in the operator's container, in Kubernetes' own shape."""
    pod_annotations: Strings = {}
    """Further annotations of the operator's pods."""
    pod_labels: Strings = {}
    """Further labels of the operator's pods."""
    node_selector: Strings = {}
    """Labels of nodes that the operator may run on."""
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = []
    """Taints of nodes that the operator tolerates."""
    affinity: dict[str, Any] = {}
    """Kubernetes' affinity of the operator's pods, passed on as it is."""
    priority_class_name: Name = ""
    """Priority class of the operator's pods."""
    termination_grace_period_seconds: Annotated[int, Field(ge=1, le=600)] = 20
    """How long the operator may take to end a step and give up its Lease."""
