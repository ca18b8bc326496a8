"""The broker that chaos may stop, freeze and restart: a testbed instance of its own, to disturb nobody else."""

from testbed.kafka import Kafka, Security
from testbed.layout import Instance

INSTANCE = 8
_PROPERTIES = {
    # members that die are missed after 6 s in both protocols; the broker's own lower bound is 45 s for KIP-848
    "group.min.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
    "group.consumer.heartbeat.interval.ms": "1000",
    # a topic that was taken away stays away until it is made again
    "auto.create.topics.enable": "false",
}


def chaos_broker() -> Kafka:
    """Return the broker of the chaos instance; not started yet."""
    return Kafka(Instance(number=INSTANCE), security=Security(properties=_PROPERTIES), for_pods=False)
