"""The template of the consumer pods. Pure. Tuned values never come here: each step would be a rollout."""

from typing import Any

from consumer_runtime.contract import pod
from parallel_consumer_operator.desired.effective import Effective
from parallel_consumer_operator.desired.overlay import RESTRICTED, overlaid
from parallel_consumer_operator.desired.owner import Owner
from parallel_consumer_operator.desired.restart import Build, restart_annotations
from parallel_consumer_operator.errors import InvalidResourceError
from parallel_consumer_operator.port import Manifest
from parallel_consumer_operator.resource import names
from parallel_consumer_operator.resource.spec import KafkaSpec, ParallelConsumerSpec

EXIT_SECONDS = 10
"""Beyond the runtime's own grace: committing, closing, and the container's end."""
_SCRATCH = "/tmp"  # noqa: S108 - a mount point in the pod, which has the directory to itself
_COMMAND = ["python", "-m", "consumer_runtime", "run", "--config", pod.SETTINGS_FILE]


def template(owner: Owner, spec: ParallelConsumerSpec, effective: Effective, build: Build) -> Manifest:
    """Return the template of the pods, with the hashes by which a restart and its cause are told."""
    _require_allowed_drivers(spec, build)
    pod_spec = overlaid(_pod(owner, spec, effective, build), spec.pod_template)
    restart = restart_annotations(effective.settings, spec, build, pod_spec)
    return {
        "metadata": {
            "labels": {**spec.pod_template.metadata.labels, **owner.labels},
            "annotations": {**spec.pod_template.metadata.annotations, **restart},
        },
        "spec": pod_spec,
    }


def mounted_secrets(kafka: KafkaSpec) -> dict[str, tuple[str, str]]:
    """Return volume name -> (Secret's name, mount path) of the Secrets that reach the pod as files."""
    references = {
        "credentials": (kafka.credentials_secret_ref, pod.CREDENTIALS_DIRECTORY),
        "ca": (kafka.ca_secret_ref, pod.CA_DIRECTORY),
        "certificate": (kafka.client_certificate_secret_ref, pod.CERTIFICATE_DIRECTORY),
    }
    return {volume: (ref.name, path) for volume, (ref, path) in references.items() if ref is not None}


def referenced_secrets(spec: ParallelConsumerSpec) -> frozenset[str]:
    """Return the names of all Secrets whose contents the pods use; those marked optional are not among them."""
    mounted = {secret for secret, _ in mounted_secrets(spec.source.kafka).values()}
    single = {
        variable.value_from.secret_key_ref.name
        for variable in spec.handler.env
        if variable.value_from
        and variable.value_from.secret_key_ref
        and not variable.value_from.secret_key_ref.optional
    }
    whole = {
        source.secret_ref.name
        for source in spec.handler.env_from
        if source.secret_ref and not source.secret_ref.optional
    }
    return frozenset(mounted | single | whole)


def referenced_config_maps(spec: ParallelConsumerSpec) -> frozenset[str]:
    """Return the names of the user's ConfigMaps whose contents the pods use; those marked optional are not here."""
    source = spec.handler.source_config_map_ref
    single = {
        variable.value_from.config_map_key_ref.name
        for variable in spec.handler.env
        if variable.value_from
        and variable.value_from.config_map_key_ref
        and not variable.value_from.config_map_key_ref.optional
    }
    whole = {
        each.config_map_ref.name
        for each in spec.handler.env_from
        if each.config_map_ref and not each.config_map_ref.optional
    }
    return frozenset(single | whole | ({source.name} if source else set()))


def _pod(owner: Owner, spec: ParallelConsumerSpec, effective: Effective, build: Build) -> dict[str, Any]:
    grace = effective.settings.execution.shutdown_grace_seconds
    return {
        "serviceAccountName": _service_account(owner, spec, build),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": secret.name} for secret in spec.handler.image_pull_secrets],
        "terminationGracePeriodSeconds": grace + EXIT_SECONDS,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": owner.selector},
            }
        ],
        "containers": [_container(spec, build)],
        "volumes": _volumes(owner, spec),
    }


def _service_account(owner: Owner, spec: ParallelConsumerSpec, build: Build) -> str:
    """Whoever may create a ParallelConsumer could otherwise take any account's rights."""
    named = spec.pod_template.spec.service_account_name
    if named is None:
        return owner.name
    if f"{owner.namespace}/{named}" not in build.service_accounts:
        raise InvalidResourceError(
            field="spec.podTemplate.spec.serviceAccountName",
            value=named,
            remedy=f"the operator does not allow {owner.namespace}/{named}: leave it out, or ask the operator's"
            " administrator (chart value runtime.allowedServiceAccounts)",
        )
    return named


def _require_allowed_drivers(spec: ParallelConsumerSpec, build: Build) -> None:
    """A CSI driver may hand a pod anything of the node, and nothing else asks whether the tenant may use it."""
    for number, volume in enumerate(spec.pod_template.spec.volumes):
        driver = (volume.csi or {}).get("driver")
        if volume.csi is not None and driver not in build.csi_drivers:
            raise InvalidResourceError(
                field=f"spec.podTemplate.spec.volumes[{number}].csi.driver",
                value=str(driver),
                remedy="the operator does not allow inline volumes of this driver: use a claim, or ask the operator's"
                " administrator (chart value runtime.allowedCsiDrivers)",
            )


def _container(spec: ParallelConsumerSpec, build: Build) -> dict[str, Any]:
    policy = spec.handler.image_pull_policy
    return {
        "name": names.CONTAINER,
        "image": spec.handler.image or build.runtime_image,
        **({"imagePullPolicy": policy.value} if policy else {}),
        "args": _COMMAND,
        "env": _environment(spec),
        "envFrom": [source.model_dump(by_alias=True, exclude_none=True) for source in spec.handler.env_from],
        "ports": [{"name": names.PORT_NAME, "containerPort": pod.PORT, "protocol": "TCP"}],
        "startupProbe": _probe(pod.STARTED_PATH, period=2, failures=90),
        "readinessProbe": _probe(pod.READY_PATH, period=5, failures=3),
        "livenessProbe": _probe(pod.LIVE_PATH, period=10, failures=6),
        "terminationMessagePath": pod.TERMINATION_MESSAGE_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": RESTRICTED,
        "volumeMounts": _mounts(spec),
    }


def _environment(spec: ParallelConsumerSpec) -> list[dict[str, Any]]:
    """The handler's variables, after ours: a later one of the same name would win, so ours cannot be taken over."""
    own: dict[str, dict[str, Any]] = {
        pod.POD_NAME_VARIABLE: {"valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        "PYTHONUNBUFFERED": {"value": "1"},
    }
    theirs = [
        variable.model_dump(by_alias=True, exclude_none=True)
        for variable in spec.handler.env
        if variable.name not in own
    ]
    return [{"name": name, **value} for name, value in own.items()] + theirs


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": names.PORT_NAME, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _mounts(spec: ParallelConsumerSpec) -> list[dict[str, Any]]:
    # Whole directories: the kubelet does not update a file that is mounted by subPath.
    mounts: list[dict[str, Any]] = [
        {"name": "settings", "mountPath": pod.SETTINGS_DIRECTORY, "readOnly": True},
        {"name": "scratch", "mountPath": _SCRATCH},
    ]
    if spec.handler.source_config_map_ref is not None:
        mounts.append({"name": "handler", "mountPath": pod.HANDLER_DIRECTORY, "readOnly": True})
    secrets = mounted_secrets(spec.source.kafka).items()
    return mounts + [{"name": volume, "mountPath": path, "readOnly": True} for volume, (_, path) in secrets]


def _volumes(owner: Owner, spec: ParallelConsumerSpec) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "settings", "configMap": {"name": names.settings_name(owner.name), "defaultMode": 0o444}},
        # Worker processes need somewhere to put their sockets under a read-only root.
        {"name": "scratch", "emptyDir": {}},
    ]
    source = spec.handler.source_config_map_ref
    if source is not None:
        volumes.append({"name": "handler", "configMap": {"name": source.name, "defaultMode": 0o444}})
    secrets = mounted_secrets(spec.source.kafka).items()
    return volumes + [
        {"name": volume, "secret": {"secretName": secret, "defaultMode": 0o444}} for volume, (secret, _) in secrets
    ]
