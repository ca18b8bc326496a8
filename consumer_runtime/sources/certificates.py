"""What librdkafka reads once, when a client is made: whoever owns a client makes another when it is replaced.

Certificates, and with OpenID Connect the client's id and secret. A kubelet swaps a symlink when a Secret changes, and
cert-manager writes anew weeks before the end: connections that exist go on, so there is no hurry. Not here: making
clients (`kafka`, `dead_letter`, `results`), passwords (`credentials`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consumer_runtime.sources.credentials import files, is_client_secret
from consumer_runtime.sources.watched import Watched

_NAMES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")


class Certificates(Watched):
    """The files that a client's properties name."""

    def __init__(self, properties: Mapping[str, Any], *, credentials_location: str | None = None) -> None:
        """Take the properties, and the folder with the login if there is one."""
        named = [Path(properties[name]) for name in _NAMES if properties.get(name)]
        super().__init__(named + (files(credentials_location) if is_client_secret(properties) else []))
