"""The running operator: cluster, reconciler, loops, watch and HTTP put together, started and ended in order."""

import asyncio
import signal
from contextlib import AsyncExitStack

import kopf
import structlog

from parallel_consumer_operator import handlers
from parallel_consumer_operator.cluster import connect
from parallel_consumer_operator.control import Control
from parallel_consumer_operator.exposition import Liveness, OperatorMetrics, serve
from parallel_consumer_operator.freshness import listen
from parallel_consumer_operator.leader import lead
from parallel_consumer_operator.mirror import Mirror
from parallel_consumer_operator.port import Key
from parallel_consumer_operator.prometheus import Prometheus
from parallel_consumer_operator.reconcile import Reconciler
from parallel_consumer_operator.settings import OperatorSettings
from parallel_consumer_operator.tune import PrometheusTuner
from parallel_consumer_operator.watch import mirrored

_log = structlog.get_logger(__name__)


async def run(settings: OperatorSettings) -> None:
    """Run until SIGTERM or SIGINT; raises UnavailableError when there is no cluster to talk to."""
    metrics, liveness, stop = OperatorMetrics(), Liveness(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(connect(identity=settings.identity, observe=metrics.observe_request))
        await stack.enter_async_context(serve(metrics, liveness, host="0.0.0.0", port=settings.http_port))  # noqa: S104 - the kubelet probes it
        prometheus = Prometheus(metrics.observe_query)
        stack.callback(prometheus.close)
        tuner = PrometheusTuner(
            prometheus,
            default_address=settings.prometheus_url,
            token_file=settings.prometheus_token_file,
            ca_file=settings.prometheus_ca_file,
            secrets=cluster.secret_data,
            brake=settings.emergency_brake,
            namespaces=settings.namespaces,
            every_decision=settings.every_decision,
        )
        reconciler = Reconciler(cluster, settings, tuner=tuner, metrics=metrics)

        async def work(ended: asyncio.Event) -> None:
            control = Control(reconciler, metrics)
            listening = asyncio.create_task(listen(cluster, control, liveness))
            try:
                async with mirrored(cluster, cluster.mirror, settings.namespaces, control.wake):
                    await _watch(control, cluster.mirror, settings, ended)
            finally:
                listening.cancel()
                await control.stop()

        if settings.leader_elect:
            await lead(cluster, Key(settings.lease_namespace, settings.lease_name), metrics, stop, work)
        else:
            metrics.leader.set(1)
            await work(stop)
    _log.info("operator ended")


async def _watch(control: Control, mirror: Mirror, settings: OperatorSettings, stop: asyncio.Event) -> None:
    _log.info("watching", namespaces=list(settings.namespaces) or "all")
    await kopf.operator(
        registry=handlers.registry(control, mirror),
        settings=handlers.settings(),
        namespaces=settings.namespaces,
        clusterwide=not settings.namespaces,
        standalone=True,
        stop_flag=stop,
    )
