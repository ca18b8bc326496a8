"""The house rules that a machine can hold. Style that needs judgement is no business of this file.

Each rule is a pure function from a file's path and text to what is wrong with it, and is tried on a bad sample first: a
checker that cannot fail checks nothing.
"""

import ast
import re
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
MAX_MEDIAN_FUNCTION_LINES = 10
DRAWERS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "support", "misc", "shared", "stuff"}
LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "pipfile.lock", "package-lock.json", "yarn.lock", "pnpm-lock.yaml"}
PACKAGES = ("consumer_runtime", "operator", "testbed", "benchmarks")
# Written as patterns, so that this file does not contain what it forbids.
REGISTRY_HOST = re.compile(
    r"\b(pypi\.org|pythonhosted\.org|npmjs\.(org|com)|docker\.io|quay\.io|ghcr\.io|gcr\.io|registry\.k8s\.io"
    r"|repo1?\.maven\.(apache\.)?org|proxy\.golang\.org|deb\.debian\.org|archive\.ubuntu\.com)\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.}-])/(work|root|home)/[\w.]|/tmp/(lab|house)\b|/opt/[w]heels")
UNFINISHED = re.compile(r"\b(TO[D]O|FIXM[E]|XX[X]|HAC[K])\b")

Rule = Callable[[Path, str], Iterator[str]]


def file_length(path: Path, text: str) -> Iterator[str]:
    """A source file reads in one sitting; what a generator wrote or a module system needs is not read."""
    lines = text.count("\n")
    if lines > MAX_FILE_LINES and path.suffix in {".py", ".sh", ".md", ""} and "reference" not in path.parts:
        yield f"{path}: {lines} lines, allowed are {MAX_FILE_LINES}"


def function_length(path: Path, text: str) -> Iterator[str]:
    """A function fits a screen."""
    for node in functions(path, text):
        if length(node) > MAX_FUNCTION_LINES:
            yield f"{path}:{node.lineno} {node.name}: {length(node)} lines, allowed are {MAX_FUNCTION_LINES}"


def module_docstring(path: Path, text: str) -> Iterator[str]:
    """A module says what it is for and what it is not; a test file's name is its subject."""
    if path.suffix == ".py" and path.parts[0] in PACKAGES and ast.get_docstring(ast.parse(text)) is None:
        yield f"{path}: no module docstring"


def file_name(path: Path, text: str) -> Iterator[str]:
    """A name says what is inside; nothing records a resolver's addresses; no folder pretends to be a package."""
    if path.suffix == ".py" and set(path.stem.lower().split("_")) & DRAWERS:
        yield f"{path}: a drawer, not a name"
    if path.name.lower() in LOCK_FILES:
        yield f"{path}: a lock file records registry hosts; constraints.txt holds the versions"
    if path.name == "__init__.py" and (path.parts[0] == "tests" or path == Path("operator/__init__.py")):
        yield f"{path}: makes a package of a folder that is none"


def host(path: Path, text: str) -> Iterator[str]:
    """Where packages come from is the machine's affair."""
    yield from matches(path, text, REGISTRY_HOST, "a registry's host")


def machine_path(path: Path, text: str) -> Iterator[str]:
    """Nothing depends on where one machine keeps its files."""
    yield from matches(path, text, MACHINE_PATH, "a path of one machine")


def unfinished(path: Path, text: str) -> Iterator[str]:
    """What is not done is an issue, not a comment."""
    yield from matches(path, text, UNFINISHED, "unfinished work")


def end_to_end_is_marked(path: Path, text: str) -> Iterator[str]:
    """End-to-end tests need a cluster, and `make test-cluster` finds them by their mark."""
    if path.parts[:2] == ("tests", "e2e") and path.name.startswith("test_") and "pytest.mark.cluster" not in text:
        yield f"{path}: without pytest.mark.cluster no target runs it"


RULES: list[tuple[Rule, str, str]] = [
    (file_length, "consumer_runtime/long.py", "x = 1\n" * (MAX_FILE_LINES + 1)),
    (function_length, "consumer_runtime/f.py", "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
    (module_docstring, "testbed/undocumented.py", "x = 1\n"),
    (file_name, "consumer_runtime/kafka_utils.py", ""),
    (file_name, "testbed/common.py", ""),
    (file_name, "uv.lock", ""),
    (file_name, "tests/unit/__init__.py", ""),
    (file_name, "operator/__init__.py", ""),
    (host, "Dockerfile", "RUN pip install --index-url https://" + "pypi" + ".org/simple x\n"),
    (host, "charts/x/values.yaml", "image: quay" + ".io/x/y\n"),
    (machine_path, "Makefile", "PATH=/" + "work/x\n"),
    (machine_path, "docs/x.md", "see `/" + "root/.cache`\n"),
    (unfinished, "docs/x.md", "TO" + "DO: write\n"),
    (end_to_end_is_marked, "tests/e2e/test_x.py", "def test_x(): ...\n"),
]


def functions(path: Path, text: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a Python file, methods and nested ones included."""
    if path.suffix != ".py":
        return []
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring included, decorators not."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def matches(path: Path, text: str, pattern: re.Pattern[str], what: str) -> Iterator[str]:
    """One finding for each line that the pattern matches."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := pattern.search(line):
            yield f"{path}:{number}: {what}: {found[0]}"


def kept_files() -> list[Path]:
    """What git keeps or is about to keep: tracked files, and new ones that no ignore rule names."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({Path(name) for name in listed if name and (ROOT / name).is_file()})


def contents(path: Path) -> bytes:
    """The bytes of a kept file."""
    return (ROOT / path).read_bytes()


@pytest.mark.parametrize(("rule", "path", "text"), RULES)
def test_rule_finds_a_bad_sample(rule: Rule, path: str, text: str) -> None:
    """Each rule objects to a file that breaks it, so that its silence elsewhere means something."""
    assert list(rule(Path(path), text))


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES))
def test_every_kept_file_keeps_the_rule(rule: Rule) -> None:
    """No file that git keeps breaks the rule."""
    assert [finding for path in kept_files() for finding in rule(path, contents(path).decode())] == []


def test_git_keeps_text_only() -> None:
    """A binary has no diff and no review: what can be built is built."""
    assert [str(path) for path in kept_files() if b"\0" in contents(path)] == []


def test_median_function_is_short() -> None:
    """Half of all functions, the product's and the tests', read at a glance."""
    lengths = [length(node) for path in kept_files() for node in functions(path, contents(path).decode())]
    assert statistics.median(lengths) <= MAX_MEDIAN_FUNCTION_LINES


def test_median_is_of_real_lengths() -> None:
    """The measure counts a function's lines, its docstring included."""
    sample = 'def f():\n    """Say."""\n    return 1\n'
    assert [length(node) for node in functions(Path("x.py"), sample)] == [3]
