"""How each system is started: its command and environment, and what must be built first (once, kept in a cache)."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compare.errors import PeerUnavailableError
from benchmarks.compare.job import Job, Mode
from benchmarks.compare.works import System, Work
from testbed.layout import cache_root

ROOT = Path(__file__).resolve().parents[2]
_PEERS = ROOT / "benchmarks" / "peers"
_JAVA = _PEERS / "java"
_BUILD_SECONDS = 540
FROZEN = ("raw.py", "client.py", "bare_async.py", "bare_pipes.py")


_NOT_TO_BE_HAD = {
    System.JAVA_FORK: "the fork builds 0.5.3.4-SNAPSHOT under the coordinates of the original and has no release on "
    "Maven Central: looked for under io.confluent, io.github.astubbs and bz.stub in 2026-11",
    System.KPIPE: "Maven Central did not have io.github.eschizoid:kpipe-consumer when asked for 1.14.0, 1.16.3 and "
    "1.22.0 in 2026-11",
}
_JAVA_SYSTEMS = (System.JAVA, System.JAVA_DEFAULT)


@dataclass(frozen=True)
class _Packages:
    """What a Python peer is installed from, in an environment of its own: peers want versions that ours does not."""

    name: str
    version: str
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    extras: str = ""
    beside: tuple[str, ...] = ()

    @property
    def requirements(self) -> tuple[str, ...]:
        return (f"{self.name}{self.extras}=={self.version}", *self.beside)


_PYRALLEL = _Packages("pyrallel-consumer", "1.0.0", python="3.12")
_PACKAGES = {
    System.PYRALLEL: _PYRALLEL,
    System.PYRALLEL_DEFAULT: _PYRALLEL,
    System.FASTSTREAM: _Packages("faststream", "0.7.8", extras="[confluent]", beside=("uvloop==0.23.0",)),
    System.ARROYO: _Packages("sentry-arroyo", "2.48.0"),
    System.QUIXSTREAMS: _Packages("quixstreams", "3.28.1"),
}


@dataclass(frozen=True)
class Launch:
    """A command and what is added to the environment."""

    command: tuple[str, ...]
    environment: dict[str, str]


def launch(system: System, work: Work, job: Job) -> Launch:
    """Return how to start a system. Raises PeerUnavailableError."""
    if system in _JAVA_SYSTEMS:
        return Launch(_java_command(job, work, is_tuned=system is System.JAVA), {})
    python = str(environment(_PACKAGES[system])) if system in _PACKAGES else sys.executable
    module = f"benchmarks.peers.{_module(system, job.mode)}"
    return Launch((python, "-m", module), job.environment() | {"PYTHONPATH": str(ROOT)})


def frozen_digests() -> dict[str, str]:
    """Return the SHA-256 of each frozen file."""
    return {name: hashlib.sha256((_PEERS / name).read_bytes()).hexdigest() for name in FROZEN}


def prepare(system: System) -> None:
    """Build what a system needs, before anything is measured. Raises PeerUnavailableError."""
    if system in _NOT_TO_BE_HAD:
        raise PeerUnavailableError(_NOT_TO_BE_HAD[system])
    if system in _JAVA_SYSTEMS:
        java_classpath()
    elif system in _PACKAGES:
        environment(_PACKAGES[system])


def _module(system: System, mode: Mode) -> str:
    if system is System.BARE:
        return "bare_pipes" if mode is Mode.PROCESS else "bare_async"
    return {
        System.OURS: "ours",
        System.RAW: "raw",
        System.SERIAL: "raw",
        System.PYRALLEL: "pyrallel",
        System.PYRALLEL_DEFAULT: "pyrallel_default",
        System.AIOKAFKA: "aiokafka_loop",
        System.FASTSTREAM: "faststream_loop",
        System.ARROYO: "arroyo_loop",
        System.QUIXSTREAMS: "quixstreams_loop",
    }[system]


def _java_command(job: Job, work: Work, *, is_tuned: bool) -> tuple[str, ...]:
    tuning = {"batch": str(job.batch_size), "concurrency": str(work.java_concurrency)} if is_tuned else {}
    properties = tuning | {
        "servers": job.bootstrap_servers,
        "group": job.group,
        "topic": job.topic,
        "marks": job.marks,
        "bases": ",".join(map(str, job.bases)),
        "work.nanos": str(round(job.work_seconds * 1e9)),
        "ordering": job.ordering.value,
        "times": job.times,
    }
    return ("java", "-Xmx2g", *(f"-D{name}={value}" for name, value in properties.items()), "-cp", java_classpath(),
            "Harness")  # fmt: skip


@functools.cache
def java_classpath() -> str:
    """Build the harness and fetch its libraries unless they are there. Raises PeerUnavailableError."""
    missing = [tool for tool in ("java", "javac", "mvn") if shutil.which(tool) is None]
    if missing:
        raise PeerUnavailableError(f"{', '.join(missing)} not found; the Java peer needs a JDK 17 and Maven")
    sources = [_JAVA / "pom.xml", _JAVA / "src" / "main" / "java" / "Harness.java"]
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()[:12]
    target = cache_root() / f"compare-java-{digest}"
    if not target.exists():
        draft = _draft(target)
        _build(["mvn", "-q", "-B", "-f", sources[0], "dependency:copy-dependencies", f"-DoutputDirectory={draft}/libs"])
        _build(["javac", "-cp", f"{draft}/libs/*", "-d", f"{draft}/classes", sources[1]])
        draft.rename(target)
    return f"{target}/classes:{target}/libs/*"


@functools.cache
def environment(packages: _Packages) -> Path:
    """Make a peer's environment unless it is there. Raises PeerUnavailableError without the Python that it needs."""
    target = cache_root() / f"compare-{packages.name}-{packages.version}"
    python = target / "bin" / "python"
    if not target.exists():
        found = _python(packages.python)
        if found is None:
            raise PeerUnavailableError(
                f"no Python {packages.python} on PATH or in pyenv; {packages.name} {packages.version} needs it"
            )
        _build([found, "-m", "venv", target])
        try:
            _build([python, "-m", "pip", "install", "--quiet", *packages.requirements])
        except PeerUnavailableError:
            shutil.rmtree(target)
            raise
    return python


def _python(version: str) -> Path | None:
    on_path = shutil.which(f"python{version}")
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [*([Path(on_path)] if on_path else []), *sorted(root.glob(f"{version}.*/bin/python{version}"))]
    return next((each for each in candidates if _runs(each)), None)


def _runs(python: Path) -> bool:
    """Return whether it is an interpreter, and not pyenv's shim for one that is not selected."""
    return subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def _draft(target: Path) -> Path:
    draft = target.with_name(f"{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    return draft


def _build(command: Sequence[str | Path]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=_BUILD_SECONDS)
    except subprocess.CalledProcessError as error:
        raise PeerUnavailableError(f"{Path(command[0]).name} failed: {(error.stdout + error.stderr)[-500:]}") from error
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailableError(f"{Path(command[0]).name} took more than {_BUILD_SECONDS} s") from error
