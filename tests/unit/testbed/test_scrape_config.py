import base64
import gzip
from pathlib import Path
from typing import Any

import yaml

from testbed import scrape_config

FOLDER = Path("here")
GENERATED = """
global:
  external_labels: {prometheus_replica: $(POD_NAME)}
rule_files: [/etc/prometheus/rules/prometheus-testbed-rulefiles-0/*.yaml]
scrape_configs:
- job_name: podMonitor/orders/orders/0
  tls_config: {ca_file: /etc/prometheus/certs/orders-ca.crt, cert_file: /elsewhere/admin.crt}
  relabel_configs: [{action: keep, regex: $(SHARD);|.+;.+}]
alerting: {alertmanagers: []}
"""


def encoded(data: bytes) -> str:
    """As Kubernetes keeps binary data."""
    return base64.b64encode(data).decode()


def secret(name: str, **data: bytes) -> dict[str, Any]:
    """A Secret; `_` in a key stands for a dot."""
    fields = {key.replace("_", "."): encoded(value) for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": fields}


CONFIGURATION = secret("prometheus-testbed", prometheus_yaml_gz=gzip.compress(GENERATED.encode()))
CERTIFICATES = {"metadata": {"name": "prometheus-testbed-tls-assets-0"}, "data": {"orders-ca.crt": encoded(b"PEM")}}
RULES = {"metadata": {"name": "prometheus-testbed-rulefiles-0"}, "data": {"orders-lag.yaml": "groups: []"}}
STRANGER = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "PEM"}}


def test_paths_of_the_pod_become_ours():
    """Rules and certificates are read where they are written; other paths stay; alerts go to our Alertmanager."""
    wanted = scrape_config.files([CONFIGURATION], FOLDER, alertmanager="10.0.0.1:9093")
    config = yaml.safe_load(wanted[FOLDER / "prometheus.yaml"])
    assert config["rule_files"] == ["here/rules/prometheus-testbed-rulefiles-0/*.yaml"]
    tls = config["scrape_configs"][0]["tls_config"]
    assert tls == {"ca_file": "here/certs/orders-ca.crt", "cert_file": "/elsewhere/admin.crt"}
    assert config["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["10.0.0.1:9093"]}]}]


def test_placeholders_are_filled_in():
    """A shard that is left as a placeholder would drop every target."""
    config = yaml.safe_load(
        scrape_config.files([CONFIGURATION], FOLDER, alertmanager="a:1")[FOLDER / "prometheus.yaml"]
    )
    assert config["scrape_configs"][0]["relabel_configs"][0]["regex"] == "0;|.+;.+"
    assert config["global"]["external_labels"]["prometheus_replica"] == "prometheus-testbed-0"


def test_rules_and_certificates_become_files_and_strangers_do_not():
    """All of the operator's objects are read, nothing else of the namespace."""
    wanted = scrape_config.files([CONFIGURATION, CERTIFICATES, RULES, STRANGER], FOLDER, alertmanager="a:1")
    assert wanted[FOLDER / "rules" / "prometheus-testbed-rulefiles-0" / "orders-lag.yaml"] == "groups: []"
    assert wanted[FOLDER / "certs" / "orders-ca.crt"] == "PEM"
    assert len(wanted) == 3


def test_nothing_is_wanted_before_the_operator_wrote_its_configuration():
    """Rules alone are no configuration: Prometheus keeps what it has."""
    assert scrape_config.files([RULES], FOLDER, alertmanager="a:1") == {}


def test_a_rule_that_is_gone_leaves_no_file(tmp_path: Path):
    """A deleted PrometheusRule stops alerting."""
    scrape_config.write({tmp_path / "rules" / "a" / "old.yaml": "1", tmp_path / "prometheus.yaml": "1"}, tmp_path)
    scrape_config.write({tmp_path / "rules" / "a" / "new.yaml": "2", tmp_path / "prometheus.yaml": "2"}, tmp_path)
    assert [file.name for file in (tmp_path / "rules").rglob("*.yaml")] == ["new.yaml"]
    assert (tmp_path / "prometheus.yaml").read_text() == "2"
