"""The workbench's commands as a new user meets them: each one's help has an example that can be typed."""

import importlib
import shlex
from collections.abc import Iterator

import pytest
import typer

MODULES = ("scenarios", "sweeps", "failures", "choose", "gate", "run_parallel_benchmark")


def commands() -> Iterator[tuple[str, typer.main.TyperCommand]]:
    """Each command by what is typed for it, groups included."""
    for name in MODULES:
        folder = f"benchmarks.{name}"
        module = importlib.import_module(folder if name == "run_parallel_benchmark" else f"{folder}.__main__")
        command = typer.main.get_command(module._app)
        yield f"python -m {folder}", command
        for each in getattr(command, "commands", {}).values():
            yield f"python -m {folder} {each.name}", each


FOUND = dict(commands())


@pytest.mark.parametrize("typed", FOUND)
def test_help_has_an_example(typed):
    """An example begins with the command itself, and its options are those of the command."""
    lines = [line.strip() for line in (FOUND[typed].help or "").replace("\\\n", " ").splitlines()]
    examples = [line for line in lines if line.startswith(typed)]
    assert examples
    for example in examples:
        words = shlex.split(example.removeprefix("python -m "))[1:]
        given = {word for word in words if word.startswith("--")}
        command = FOUND.get(" ".join(example.split()[:4]), FOUND[typed])
        assert given <= {name for option in command.params for name in option.opts}
