"""How a worker process finds the handler again: by import, never by pickling.

The parent asks for an `Entry` and learns early when there is none; the worker restores what the entry needs. Not here:
loading itself (`consumer_runtime.handler`).
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from consumer_runtime.contract.choices import StartReason
from consumer_runtime.errors import StartFailure
from consumer_runtime.handler import Handler

PROGRAM = "__consumer_program__"
"""The program's own file under another name, so that `if __name__ == "__main__":` keeps a worker from running it."""


class Entry(NamedTuple):
    """Where a worker imports the handler from."""

    entrypoint: str
    program: str
    """Path of the program's own file, when the handler is defined there; else empty."""


def entry(handler: Handler) -> Entry:
    """Return how a worker finds this handler. Raises StartFailure when importing would not give the same object."""
    if handler.reference is None:
        raise _unsuitable(handler)
    module_name, _, attribute = handler.reference.entrypoint.partition(":")
    if module_name != "__main__":
        return Entry(handler.reference.entrypoint, "")
    return _in_program(handler, attribute)


def _in_program(handler: Handler, attribute: str) -> Entry:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        name = spec.name.removesuffix(".__main__") + ".__main__" if spec.name.endswith("__main__") else spec.name
        return Entry(f"{name}:{attribute}", "")
    path = getattr(main, "__file__", None)
    if not path or not Path(path).is_file():
        raise _unsuitable(handler)
    return Entry(f"{PROGRAM}:{attribute}", str(Path(path).resolve()))


def restore(program: str) -> None:
    """In a worker: make the program's own file importable as `PROGRAM`."""
    if program:
        sys.meta_path.append(_ProgramFinder(program))


def spelled_for_parent(class_name: str) -> str:
    """Return the name of an exception's class as the parent, and retry policies, know it."""
    return f"__main__:{class_name[len(PROGRAM) + 1 :]}" if class_name.startswith(PROGRAM + ":") else class_name


def refuse_in_worker() -> None:
    """Raise StartFailure when a worker is about to start workers: its program lacks the usual guard."""
    if PROGRAM in sys.modules:
        raise StartFailure.because(
            StartReason.HANDLER_UNSUITABLE,
            field="handler",
            value=str(getattr(sys.modules[PROGRAM], "__file__", "")),
            remedy='worker processes import this file: start the consumer under `if __name__ == "__main__":`',
        )


class _ProgramFinder(importlib.abc.MetaPathFinder):
    def __init__(self, program: str) -> None:
        self._program = program

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the import system's shape
        target: ModuleType | None = None,  # noqa: ARG002 - same
    ) -> importlib.machinery.ModuleSpec | None:
        """Find one module only."""
        if fullname != PROGRAM:
            return None
        loader: Any = importlib.machinery.SourceFileLoader(PROGRAM, self._program)
        return importlib.util.spec_from_file_location(PROGRAM, self._program, loader=loader)


def _unsuitable(handler: Handler) -> StartFailure:
    return StartFailure.because(
        StartReason.HANDLER_UNSUITABLE,
        field="spec.handler.entrypoint",
        value=handler.name,
        remedy=f"mode process imports the handler in each worker, and an import of {handler.name} does not find it: "
        "name a function or class at the top level of a module (no lambda, nested function, bound method or instance), "
        "or use mode thread",
    )
