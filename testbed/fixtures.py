"""Pytest fixtures that give tests the real parts. Each starts its part through the testbed unless it is up already.

What the collected tests need is built before the first of them runs: a build has minutes, a test's deadline has not.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from testbed import artifacts, programs
from testbed.artifacts import Name
from testbed.cluster import Kubernetes
from testbed.kafka import Kafka
from testbed.layout import Instance, Part
from testbed.leases import borrowed
from testbed.monitoring import Prometheus
from testbed.parts import Options
from testbed.programs import Program
from testbed.progress import Progress

BUILT_FOR: Mapping[str, tuple[Name, ...]] = {
    "kafka": (Name.KAFKA,),
    "control_plane": (Name.KUBERNETES,),
    "kubernetes": (Name.KUBERNETES, Name.COREDNS, Name.PAUSE_IMAGE, Name.BASE_IMAGE),
    "prometheus": (Name.PROMETHEUS_OPERATOR, Name.PROMETHEUS),
    "helm": (Name.HELM,),
    "helm_unittest": (Name.HELM_UNITTEST,),
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the collected tests need, where a person can see the progress."""
    if session.config.getoption("collectonly"):
        return
    needed = builds_for(name for item in session.items for name in getattr(item, "fixturenames", ()))
    capture = session.config.pluginmanager.getplugin("capturemanager")
    if needed and capture is not None:
        with capture.global_and_fixture_disabled():
            artifacts.ensure(needed, Instance().cache, Progress())


def builds_for(fixtures: Iterable[str]) -> list[Name]:
    """What must be built for tests that request these fixtures, each once, in the order of building."""
    needed = {name for fixture in fixtures for name in BUILT_FOR.get(fixture, ())}
    return [name for name in Name if name in needed]


@pytest.fixture(scope="session")
def testbed_instance() -> Instance:
    """The instance that tests use: PARALLEL_CONSUMER_TESTBED_INSTANCE, else 0."""
    return Instance()


@pytest.fixture(scope="session")
def kafka(testbed_instance: Instance) -> Iterator[Kafka]:
    """A running Kafka. Use topic and group names of your own; start again what you stop."""
    with borrowed(Part.KAFKA, instance=testbed_instance):
        yield Kafka(testbed_instance)


@pytest.fixture(scope="session")
def control_plane(testbed_instance: Instance) -> Iterator[Kubernetes]:
    """A running API server with its controllers; a node only if one was there. Use a namespace of your own."""
    with borrowed(Part.KUBERNETES, instance=testbed_instance, options=Options(control_plane_only=True)):
        yield Kubernetes(testbed_instance, control_plane_only=True)


@pytest.fixture(scope="session")
def kubernetes(testbed_instance: Instance) -> Iterator[Kubernetes]:
    """A running cluster with a node. Use a namespace of your own."""
    with borrowed(Part.KUBERNETES, instance=testbed_instance):
        yield Kubernetes(testbed_instance)


@pytest.fixture(scope="session")
def prometheus(kubernetes: Kubernetes) -> Iterator[Prometheus]:
    """Prometheus with prometheus-operator beside the cluster: PodMonitor and PrometheusRule objects are really read."""
    with borrowed(Part.PROMETHEUS, instance=kubernetes.instance):
        yield Prometheus(kubernetes.instance)


@pytest.fixture(scope="session")
def helm() -> Path:
    """The helm program; built when missing, needs no cluster."""
    return programs.path(Program.HELM)


@pytest.fixture(scope="session")
def helm_unittest() -> Path:
    """The helm-unittest program; built when missing, needs no cluster."""
    return programs.path(Program.HELM_UNITTEST)


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Checks and tests rules: the built one or Debian's; needs no cluster."""
    return programs.path(Program.PROMTOOL)


@pytest.fixture(scope="session")
def alertmanager(prometheus: Prometheus) -> str:
    """Base address of the Alertmanager to which that Prometheus sends its alerts."""
    return prometheus.alertmanager_url
