"""Programs that Debian packages: found on the PATH, or installed with apt. Not for what we build ourselves."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from testbed.errors import MissingToolError
from testbed.progress import Progress

CNI_PLUGINS = Path("/usr/lib/cni")
# Debian's maintainer scripts start what they install (etcd, containerd, a broker); this file tells them not to.
POLICY = Path("/usr/sbin/policy-rc.d")

KAFKA: Mapping[str, str] = {"java": "openjdk-17-jre-headless", "mvn": "maven"}
IMAGES: Mapping[str, str] = {"buildah": "buildah", "debootstrap": "debootstrap", "gcc": "gcc", "unshare": "util-linux"}
CONTROL_PLANE: Mapping[str, str] = {"etcd": "etcd-server", "openssl": "openssl"}
NODE: Mapping[str, str] = {
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "conntrack": "conntrack",
    str(CNI_PLUGINS / "ptp"): "containernetworking-plugins",
}
MONITORING: Mapping[str, str] = {"prometheus-alertmanager": "prometheus-alertmanager"}
HOST_PROMETHEUS: Mapping[str, str] = {"prometheus": "prometheus"}


def ensure(programs: Mapping[str, str], progress: Progress) -> None:
    """Install the packages of those programs that are missing.

    Raises:
        MissingToolError: a program is missing and this is not a Debian machine, not root, or apt failed.
    """
    missing = {program: package for program, package in programs.items() if not present(program)}
    if not missing:
        return
    names = sorted(set(missing.values()))
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        msg = f"{', '.join(missing)} not found; install the packages {' '.join(names)}, or run as root on Debian"
        raise MissingToolError(msg)
    with progress.step(f"Install {' '.join(names)}"), _services_kept_down():
        _install(names)
    still = [program for program in missing if not present(program)]
    if still:
        msg = f"apt installed {' '.join(names)} but {', '.join(still)} is still not found"
        raise MissingToolError(msg)


def present(program: str) -> bool:
    """Whether the program is on the PATH or in the system folders that a plain user's PATH leaves out."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def mirror() -> str:
    """The Debian mirror that this machine's own apt uses.

    Raises:
        MissingToolError: no Debian source is configured.
    """
    for source in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for line in source.read_text().splitlines():
            if line.startswith("URIs:") and "debian" in line and "security" not in line:
                return line.split()[1]
    listed = Path("/etc/apt/sources.list")
    for line in listed.read_text().splitlines() if listed.exists() else []:
        if line.startswith("deb ") and "security" not in line:
            return next(word for word in line.split() if "://" in word)
    msg = "no Debian mirror in /etc/apt/sources.list or /etc/apt/sources.list.d; debootstrap needs one"
    raise MissingToolError(msg)


def _install(packages: list[str]) -> None:
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:  # the package lists may be old: once more with new ones
        subprocess.run(["apt-get", "update", "--quiet"], env=environment, capture_output=True, check=False)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"apt-get install {' '.join(packages)} failed:\n{done.stderr[-1500:]}"
        raise MissingToolError(msg)


@contextlib.contextmanager
def _services_kept_down() -> Iterator[None]:
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
