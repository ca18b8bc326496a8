"""etcd, API server, controller-manager and scheduler: everything of Kubernetes that needs no node."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from testbed import artifacts, network, ports, processes, readiness, state
from testbed.artifacts import Name
from testbed.layout import Instance, Part, Port
from testbed.pki import Authority
from testbed.state import PartState

LOOPBACK = "127.0.0.1"
READY_SECONDS = 120.0
USERS: Mapping[str, str] = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "coredns": "/O=system:masters/CN=coredns",
    "node": "/O=system:nodes/CN=system:node:testbed",
}
# Who did what, without bodies; the cluster's own parts are left out, so that a test of permissions reads little.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:nodes"]},
        {
            "level": "None",
            "users": [
                "system:apiserver",
                "system:kube-controller-manager",
                "system:kube-scheduler",
                "system:kube-proxy",
                "coredns",
            ],
        },
        {"level": "None", "namespaces": ["kube-system"], "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata"},
    ],
}


def choose_facts(instance: Instance) -> dict[str, str]:
    """Addresses for a new cluster. The API server is on the link, for pods and machine alike; else on loopback."""
    address = instance.host_address if network.exists(instance) else LOOPBACK
    home = state.folder(instance, Part.KUBERNETES)
    return {
        "server": f"https://{address}:{ports.choose(instance, Port.API_SERVER, address)}",
        "etcd": f"{LOOPBACK}:{ports.choose(instance, Port.ETCD, LOOPBACK)}",
        "etcd_peer": f"{LOOPBACK}:{ports.choose(instance, Port.ETCD_PEER, LOOPBACK)}",
        "controller_manager": f"{LOOPBACK}:{ports.choose(instance, Port.CONTROLLER_MANAGER, LOOPBACK)}",
        "scheduler": f"{LOOPBACK}:{ports.choose(instance, Port.SCHEDULER, LOOPBACK)}",
        "kubeconfig": str(home / "admin.kubeconfig"),
        "audit_log": str(home / "audit.log"),
    }


def authority(instance: Instance) -> Authority:
    """The cluster's certificate authority."""
    return Authority(state.folder(instance, Part.KUBERNETES) / "pki")


def start(instance: Instance, found: PartState, *, scheduler: bool) -> None:
    """Start what does not run yet and wait until the API server answers and its controllers work.

    Raises:
        NotReadyError: something did not come up; with the end of its log.
    """
    home = state.folder(instance, Part.KUBERNETES)
    home.mkdir(parents=True, exist_ok=True)
    _write_credentials(instance, found)
    (home / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
    _spawn(instance, found, "etcd", _etcd(found.facts))
    _wait_port(found, "etcd", found.facts["etcd"])
    _spawn(instance, found, "kube-apiserver", _api_server(instance, found.facts))
    api_server = found.processes["kube-apiserver"]
    readiness.wait("API server", lambda: api_ready(instance, found.facts), seconds=READY_SECONDS, process=api_server)
    _spawn(instance, found, "kube-controller-manager", _controller_manager(instance, found.facts))
    if scheduler:
        _spawn(instance, found, "kube-scheduler", _scheduler(instance, found.facts))
    record = found.processes["kube-controller-manager"]
    readiness.wait("Controllers", lambda: _account_made(instance), seconds=READY_SECONDS, process=record)


def kubectl(instance: Instance, *argv: str, timeout_seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the cluster's administrator; the caller looks at the exit code."""
    program = artifacts.program(instance.cache, Name.KUBERNETES, "kubectl")
    kubeconfig = state.folder(instance, Part.KUBERNETES) / "admin.kubeconfig"
    command = [str(program), f"--kubeconfig={kubeconfig}", *argv]
    try:
        return subprocess.run(
            command,
            env=processes.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(command, 124, "", f"no answer in {timeout_seconds} s: {error}")


def api_ready(instance: Instance, facts: Mapping[str, str]) -> bool:
    """Whether the API server says that it is ready."""
    address, _, port = facts["server"].removeprefix("https://").partition(":")
    if not readiness.listening(address, int(port)):
        return False
    return kubectl(instance, "get", "--raw", "/readyz", timeout_seconds=5).returncode == 0


def _account_made(instance: Instance) -> bool:
    """The default service account is what pods wait for, and the controllers make it last."""
    return kubectl(instance, "get", "serviceaccount", "default", timeout_seconds=5).returncode == 0


def _spawn(instance: Instance, found: PartState, name: str, argv: list[str | Path]) -> None:
    if name not in found.processes or not processes.alive(found.processes[name]):
        processes.spawn(instance, found, name, argv)


def _wait_port(found: PartState, name: str, address: str) -> None:
    host, _, port = address.partition(":")
    record = found.processes[name]
    readiness.wait(name, lambda: readiness.listening(host, int(port)), seconds=READY_SECONDS, process=record)


def _write_credentials(instance: Instance, found: PartState) -> None:
    made = authority(instance)
    if Path(found.facts["kubeconfig"]).exists():
        return
    made.create()
    address = found.facts["server"].removeprefix("https://").partition(":")[0]
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    made.issue(
        "api-server",
        "/CN=kube-apiserver",
        addresses=(LOOPBACK, address, instance.api_service_address),
        names=("localhost", *service),
    )
    home = state.folder(instance, Part.KUBERNETES)
    for user, subject in sorted(USERS.items(), reverse=True):  # admin last: its file says that all are there
        made.issue(user, subject)
        made.write_kubeconfig(home / f"{user}.kubeconfig", user=user, server=found.facts["server"])


def _etcd(facts: Mapping[str, str]) -> list[str | Path]:
    client, peer = f"http://{facts['etcd']}", f"http://{facts['etcd_peer']}"
    return [
        "etcd",
        "--data-dir=etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def _api_server(instance: Instance, facts: Mapping[str, str]) -> list[str | Path]:
    made = authority(instance)
    address, _, port = facts["server"].removeprefix("https://").partition(":")
    signing_key = made.key_of("service-account")
    # A loopback address cannot be advertised to pods; without a link there are none, and nothing is advertised.
    advertised = [f"--advertise-address={address}"] if address != LOOPBACK else ["--endpoint-reconciler-type=none"]
    return [
        artifacts.program(instance.cache, Name.KUBERNETES, "kube-apiserver"),
        f"--etcd-servers=http://{facts['etcd']}",
        f"--bind-address={address}",
        f"--secure-port={port}",
        *advertised,
        f"--service-cluster-ip-range={instance.service_range}",
        f"--client-ca-file={made.certificate}",
        f"--tls-cert-file={made.certificate_of('api-server')}",
        f"--tls-private-key-file={made.key_of('api-server')}",
        f"--service-account-key-file={signing_key}",
        f"--service-account-signing-key-file={signing_key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={made.certificate_of('admin')}",
        f"--kubelet-client-key={made.key_of('admin')}",
        "--audit-policy-file=audit-policy.yaml",
        f"--audit-log-path={facts['audit_log']}",
        "--audit-log-maxsize=100",
        "--audit-log-maxbackup=1",
        "--event-ttl=6h",
    ]


def _controller_manager(instance: Instance, facts: Mapping[str, str]) -> list[str | Path]:
    address, _, port = facts["controller_manager"].partition(":")
    home = state.folder(instance, Part.KUBERNETES)
    return [
        artifacts.program(instance.cache, Name.KUBERNETES, "kube-controller-manager"),
        f"--kubeconfig={home / 'controller-manager.kubeconfig'}",
        f"--service-account-private-key-file={authority(instance).key_of('service-account')}",
        f"--root-ca-file={authority(instance).certificate}",
        f"--bind-address={address}",
        f"--secure-port={port}",
        "--use-service-account-credentials",
        "--leader-elect=false",
    ]


def _scheduler(instance: Instance, facts: Mapping[str, str]) -> list[str | Path]:
    address, _, port = facts["scheduler"].partition(":")
    home = state.folder(instance, Part.KUBERNETES)
    return [
        artifacts.program(instance.cache, Name.KUBERNETES, "kube-scheduler"),
        f"--kubeconfig={home / 'scheduler.kubeconfig'}",
        f"--bind-address={address}",
        f"--secure-port={port}",
        "--leader-elect=false",
    ]
