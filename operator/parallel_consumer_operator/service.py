"""The running operator: cluster, reconciler, loops, watch and HTTP put together, started and ended in order."""

import asyncio
import signal
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress

import kopf
import structlog
from kopf._cogs.clients.errors import APIError  # kopf has no public name for how a watch was refused

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
from parallel_consumer_operator.territory import Territory
from parallel_consumer_operator.tune import PrometheusTuner
from parallel_consumer_operator.watch import mirrored

AGAIN_SECONDS = 5.0
"""After a watch was refused, or while nothing may be read, all is begun anew this late."""

_log = structlog.get_logger(__name__)


async def run(settings: OperatorSettings) -> None:
    """Run until SIGTERM or SIGINT; raises UnavailableError when there is no cluster to talk to."""
    metrics, liveness, stop = OperatorMetrics(), Liveness(), asyncio.Event()
    metrics.watch_silent.set_function(lambda: liveness.silent_seconds)
    _heed_signals(stop)
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
            allowed=settings.allowed_prometheus,
            secrets=cluster.secret_data,
            brake=settings.emergency_brake,
            namespaces=settings.namespaces,
            every_decision=settings.every_decision,
        )
        reconciler = Reconciler(cluster, settings, tuner=tuner, metrics=metrics)

        territory = Territory(cluster, settings.namespaces)

        async def serve_while(ended: asyncio.Event, served: tuple[str, ...]) -> None:
            control = Control(reconciler, metrics)
            namespaces = tuple(filter(None, served))
            listening = asyncio.create_task(listen(cluster, control, liveness, namespaces))
            try:
                async with mirrored(cluster, cluster.mirror, namespaces, control.wake):
                    watching = asyncio.create_task(_watch(control, cluster.mirror, namespaces, stop), name="kopf")
                    await _until_ended(watching, control, ended.wait(), territory.until_not(served))
            finally:
                listening.cancel()
                await control.stop()

        async def work(ended: asyncio.Event) -> None:
            while not ended.is_set():
                served = await territory.readable()
                if served:
                    await serve_while(ended, served)
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), AGAIN_SECONDS)

        if settings.leader_elect:
            await lead(cluster, Key(settings.lease_namespace, settings.lease_name), metrics, stop, work)
        else:
            metrics.leader.set(1)
            await work(stop)
    _log.info("operator ended")


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _until_ended(watching: asyncio.Task[None], control: Control, *ends: Awaitable[object]) -> None:
    """Watch until one of the ends comes; then first the loops end, and kopf with all that it started is cancelled.

    Told to stop by its flag or by a signal, kopf waits 5 s for every task made since it began, the loops among them.
    """
    waiting = {asyncio.ensure_future(end) for end in ends}
    await asyncio.wait({watching, *waiting}, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    await control.stop()
    watching.cancel()
    await asyncio.wait({watching, *waiting})
    if not watching.cancelled():
        watching.result()


async def _watch(control: Control, mirror: Mirror, namespaces: tuple[str, ...], stop: asyncio.Event) -> None:
    """Have kopf watch the resources of these namespaces, of all for none; returns when a watch is refused for good."""
    _log.info("watching", namespaces=list(namespaces) or "all")
    ready = asyncio.Event()
    signals = asyncio.create_task(_take_signals_back(ready, stop))
    try:
        await kopf.operator(
            registry=handlers.registry(control, mirror),
            settings=handlers.settings(),
            namespaces=namespaces,
            clusterwide=not namespaces,
            standalone=True,
            ready_flag=ready,
        )
    except APIError as error:
        _log.error("the API server refused a watch; it is opened anew", status=error.status, error=error.message)
    finally:
        signals.cancel()


async def _take_signals_back(ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Kopf hangs its own handlers in, in place of ours, before it is ready."""
    await ready.wait()
    _heed_signals(stop)
