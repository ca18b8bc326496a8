"""The process that gives the host's Prometheus what prometheus-operator generates in the cluster.

It watches the operator's Secret and rule ConfigMaps, writes them as files with their paths moved to ours, and reloads
Prometheus when something changed. It does not generate configuration: PodMonitor and PrometheusRule are really read by
prometheus-operator. Run as `python -m testbed.scrape_config`.
"""

import argparse
import base64
import gzip
import json
import logging
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from testbed import readiness

NAMESPACE = "monitoring"
NAME = "testbed"
POD_FOLDER = "/etc/prometheus/"  # where the operator thinks that the files are: in a Prometheus pod
# What the operator's own reloader would fill in from the pod's environment; there is one shard and one replica.
PLACEHOLDERS = {"$(POD_NAME)": f"prometheus-{NAME}-0", "$(SHARD)": "0"}
LEVEL_SECONDS = 10.0
SETTLE_SECONDS = 0.1
RETRY_SECONDS = 1.0
_log = logging.getLogger("testbed.scrape_config")


@dataclass(frozen=True)
class Follower:
    """Follows one Prometheus object into one folder."""

    kubectl: tuple[str, ...]
    folder: Path
    prometheus: str
    alertmanager: str

    def follow(self) -> NoReturn:
        """Bring the files up to date, now and after every change; never returns."""
        seen: Mapping[Path, str] = {}
        while True:
            watches = [self._watch(kind) for kind in ("secrets", "configmaps")]
            try:
                while all(watch.poll() is None for watch in watches):
                    seen = self._bring_up_to_date(seen)
                    _wait_for_output(watches)
            finally:
                for watch in watches:
                    watch.kill()
                    watch.wait()
            time.sleep(RETRY_SECONDS)  # a watch ended: the API server restarts, or is down

    def _watch(self, kind: str) -> subprocess.Popen[bytes]:
        command = [*self.kubectl, "get", kind, "--namespace", NAMESPACE, "--watch", "--output=name"]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    def _bring_up_to_date(self, seen: Mapping[Path, str]) -> Mapping[Path, str]:
        """Write the files if they differ from those seen last; returns those that Prometheus has now loaded."""
        command = [*self.kubectl, "get", "secrets,configmaps", "--namespace", NAMESPACE, "--output=json"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            _log.warning("cannot read the generated configuration: %s", answer.stderr.strip())
            return seen
        wanted = files(json.loads(answer.stdout)["items"], self.folder, alertmanager=self.alertmanager)
        if not wanted or wanted == seen:
            return seen
        write(wanted, self.folder)
        if readiness.fetch(self.prometheus, "/-/reload", method="POST") is None:
            _log.warning("Prometheus at %s did not reload; its log says why", self.prometheus)
            return seen
        _log.info("loaded %d files", len(wanted))
        return wanted


def files(items: list[dict[str, Any]], folder: Path, *, alertmanager: str) -> dict[Path, str]:
    """Files for Prometheus to read, from the operator's Secrets and ConfigMaps; none before the operator made them."""
    wanted: dict[Path, str] = {}
    for item in items:
        name, data = item["metadata"]["name"], item.get("data", {})
        if name == f"prometheus-{NAME}":
            text = gzip.decompress(base64.b64decode(data["prometheus.yaml.gz"])).decode()
            for placeholder, filled in PLACEHOLDERS.items():
                text = text.replace(placeholder, filled)
            moved = move(yaml.safe_load(text), folder, alertmanager=alertmanager)
            wanted[folder / "prometheus.yaml"] = yaml.safe_dump(moved, sort_keys=False)
        elif name.startswith(f"prometheus-{NAME}-rulefiles-"):
            wanted.update({folder / "rules" / name / key: text for key, text in data.items()})
        elif name.startswith(f"prometheus-{NAME}-tls-assets-"):
            wanted.update({folder / "certs" / key: base64.b64decode(text).decode() for key, text in data.items()})
    return wanted if folder / "prometheus.yaml" in wanted else {}


def move(config: dict[str, Any], folder: Path, *, alertmanager: str) -> dict[str, Any]:
    """The generated configuration with the pod's paths moved to ours and alerts sent to our Alertmanager."""
    moved: dict[str, Any] = _moved(config, f"{folder}/")
    return {**moved, "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}}


def write(wanted: Mapping[Path, str], folder: Path) -> None:
    """Make the folder hold these files; rules and certificates that are no longer wanted go."""
    for kind in ("rules", "certs"):
        shutil.rmtree(folder / kind, ignore_errors=True)
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _moved(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {key: _moved(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner, folder) for inner in value]
    if isinstance(value, str) and value.startswith(POD_FOLDER):
        return folder + value.removeprefix(POD_FOLDER)
    return value


def _wait_for_output(watches: list[subprocess.Popen[bytes]]) -> None:
    """Sleep until a watch says something, and until it is quiet again, or until it is time to look anyway."""
    with selectors.DefaultSelector() as selector:
        for watch in watches:
            if watch.stdout is not None:
                selector.register(watch.stdout, selectors.EVENT_READ, watch.stdout)
        timeout = LEVEL_SECONDS
        while ready := selector.select(timeout):
            said = [key.data.read1(65536) for key, _ in ready]
            if not all(said):
                return  # a watch ended
            timeout = SETTLE_SECONDS


def main() -> None:
    """Follow until ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the watches are ended with us
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("kubectl", "kubeconfig", "prometheus", "alertmanager"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    kubectl = (options.kubectl, f"--kubeconfig={options.kubeconfig}")
    Follower(kubectl, options.folder, options.prometheus, options.alertmanager).follow()


if __name__ == "__main__":
    main()
