"""The real parts on one machine: Kafka 4.3, Kubernetes 1.34 with pods, Prometheus, Alertmanager, prometheus-operator.

For the demo, the tests and the benchmarks; no part of the product, which never imports it.

As commands: `python -m testbed up | down | status | logs | build | image | env | program`, each with `--help`.

In Python:

    testbed.up(Part.KAFKA, Part.KUBERNETES)         build what is missing, start, wait; no part named means all
    testbed.down()                                  leave no process, mount, link, namespace or cgroup behind
    testbed.status()                                one PartStatus per part

    kafka = testbed.Kafka()
    kafka.bootstrap_servers                         for this machine    127.0.0.1:21092
    kafka.pod_bootstrap_servers                     for pods            10.200.0.1:21094
    kafka.create_topic("orders", partitions=8)      kafka.admin() is a confluent_kafka AdminClient
    kafka.stop() start() restart() kill()           data and ports stay
    kafka.pause() resume()                          SIGSTOP and SIGCONT

    cluster = testbed.Kubernetes()                  or Kubernetes(control_plane_only=True): no node, no pods
    cluster.kubeconfig server kubectl helm helm_unittest audit_log environment
    cluster.apply({...}) get("deployment", "x", "ns") run_kubectl("get", "pods")
    cluster.build_image("operator", "localhost/parallel-consumer-operator:dev")     build a Dockerfile stage and load it
    cluster.kill("kube-apiserver") pause("etcd") resume("etcd"); start() repairs

    prometheus = testbed.Prometheus(scrape_interval="1s")
    prometheus.url alertmanager_url promtool set_scrape_interval("1s") configure_alertmanager({...})

    with testbed.HostPrometheus(targets_file, scrape_interval="1s") as p: p.url      no Kubernetes; file_sd targets
    testbed.cluster(current=True)                   the user's own kube context; its nodes must reach the images

    testbed.programs.path(Program.HELM)             also HELM_UNITTEST, KUBECTL, PROMTOOL, PROMETHEUS: no cluster needed

Every object has build, start, ready, is_up and remove. Fixtures for pytest are in testbed.fixtures: kafka,
control_plane, kubernetes, prometheus, alertmanager, and the programs helm, helm_unittest, promtool. What a session
started it takes down, what was up stays.

Built parts are kept in ~/.cache/parallel-consumer-testbed (PARALLEL_CONSUMER_TESTBED_CACHE), the running state in
run/<n> below it. PARALLEL_CONSUMER_TESTBED_INSTANCE, 0 to 15, tells testbeds apart that run side by side: each has its
own ports, address ranges and network namespace.
"""

from testbed import current_cluster
from testbed.cluster import Kubernetes
from testbed.current_cluster import CurrentCluster
from testbed.errors import TestbedError
from testbed.host_prometheus import HostPrometheus
from testbed.kafka import Kafka
from testbed.layout import Instance, Part, Port
from testbed.monitoring import Prometheus
from testbed.parts import Condition, Options, PartStatus, build, down, status, up


def cluster(*, current: bool = False) -> Kubernetes | CurrentCluster:
    """The testbed's cluster, or with `current` the one of the user's own kube context.

    Both have kubeconfig, kubectl, helm and environment. Only the testbed's can be given an image (`build_image`).

    Raises:
        MissingToolError: `current`, and there is no kubeconfig, kubectl or helm.
    """
    return current_cluster.find() if current else Kubernetes()


__all__ = [
    "Condition",
    "CurrentCluster",
    "HostPrometheus",
    "Instance",
    "Kafka",
    "Kubernetes",
    "Options",
    "Part",
    "PartStatus",
    "Port",
    "Prometheus",
    "TestbedError",
    "build",
    "cluster",
    "down",
    "status",
    "up",
]
