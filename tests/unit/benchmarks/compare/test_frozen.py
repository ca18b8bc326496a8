import hashlib

import pytest

from benchmarks.compare.environments import ROOT, frozen_digests
from benchmarks.peers.client import TUNED
from consumer_runtime.contract.settings import KafkaSettings
from consumer_runtime.sources.properties import consumer_properties

DIGESTS = {
    "bare_async.py": "e7b28e714b1c5976a7bcc545889c5d4bb2adbb6e39a653456060e138289b7227",
    "bare_pipes.py": "e6bb2fab8c8f5de62e073c60efb5ab519c7631bb0c330c9626e7513ee6f0712c",
    "client.py": "7a49bfe5c3069452cdc53e9539b9ba6c137684a21a04c3081ad59b8741491cc3",
    "raw.py": "687e2ac55e76eda805bfc95be53f00d4fb7810a16ec3679741052ae22d470614",
}
_GROUP_AND_COMMIT = {
    "bootstrap.servers", "group.id", "security.protocol", "client.id", "enable.auto.commit", "enable.auto.offset.store",
}  # fmt: skip


def test_limits_use_the_properties_that_ours_uses():
    """A limit is not lowered by worse settings of the client."""
    ours = consumer_properties(KafkaSettings(bootstrap_servers=["x:1"], topics=["t"], consumer_group="g"))
    assert {name: value for name, value in ours.items() if name not in _GROUP_AND_COMMIT} == TUNED


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_frozen_file_did_not_change(name):
    """A limit that moves is no limit: whoever changes one measures everything anew, and says so here."""
    assert frozen_digests()[name] == DIGESTS[name]


def test_digest_is_of_the_file():
    """What the JSON shows can be checked with sha256sum."""
    text = (ROOT / "benchmarks" / "peers" / "raw.py").read_bytes()
    assert frozen_digests()["raw.py"] == hashlib.sha256(text).hexdigest()
