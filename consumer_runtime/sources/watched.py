"""Mounted files that are replaced while they are in use: certificates, user name and password.

A kubelet swaps a symlink when a Secret changes, which each look sees through. Not here: what is done with a change.
"""

from collections.abc import Iterable
from pathlib import Path

LOOK_SECONDS = 2.0
_Identity = tuple[tuple[int, int, int] | None, ...]


class Watched:
    """Some files, looked at every two seconds."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Without files nothing ever changes."""
        self._files = tuple(files)
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
        """Tell the change again, since nothing could be made of it yet: files that belong together come one by one."""
        self._seen = ()

    def _identity(self) -> _Identity:
        return tuple(map(_of, self._files))


def _of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
