"""Certificates that are replaced while clients run: librdkafka reads them once, so whoever owns a client makes another.

A kubelet swaps a symlink when a Secret changes, and cert-manager writes anew weeks before the end: connections that
exist go on, so there is no hurry. Not here: making clients (`kafka`, `dead_letter`, `results`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOOK_SECONDS = 2.0
_NAMES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
_Identity = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """The files that a client's properties name, looked at every two seconds."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        """Take the properties; without files in them nothing ever changes."""
        self._files = [Path(properties[name]) for name in _NAMES if properties.get(name)]
        self._seen = self._identity()
        self._looked_at = 0.0

    def changed(self, now: float) -> bool:
        """Return whether they changed since the last change that was told; all of them have to be there."""
        if not self._files or now - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = now
        identity = self._identity()
        if identity == self._seen or None in identity:
            return False
        self._seen = identity
        return True

    def forget(self) -> None:
        """Tell the change again, since nothing could be made of it yet: key and certificate come one by one."""
        self._seen = ()

    def _identity(self) -> _Identity:
        return tuple(map(_of, self._files))


def _of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
