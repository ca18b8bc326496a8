"""What the testbed builds once and keeps: how each is made, where it lies, and how long it takes the first time.

A build goes to a draft folder that is renamed when it is whole, under a lock, so that two commands, or one that was
interrupted, never leave half a part. A changed recipe is built anew.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from testbed import buildah, commands, debian, state
from testbed.errors import MissingToolError
from testbed.layout import RECIPES
from testbed.progress import Progress

# What debootstrap mounts goes with it, also when it is interrupted.
UNSHARED = ("unshare", "--mount", "--propagation", "private")
STAMP = "recipe.sha256"
KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
OPERATOR_MODULE = "github.com/prometheus-operator/prometheus-operator"


class Name(StrEnum):
    """Every part that is built, by the name of its folder in the cache."""

    KAFKA = "kafka"
    KUBERNETES = "kubernetes"
    COREDNS = "coredns"
    HELM = "helm"
    HELM_UNITTEST = "helm-unittest"
    PROMETHEUS_OPERATOR = "prometheus-operator"
    PROMETHEUS = "prometheus"
    BASE_IMAGE = "base-image"
    PAUSE_IMAGE = "pause-image"


@dataclass(frozen=True)
class Build:
    """One build under way: where to put the result, where its output goes."""

    draft: Path
    log: Path

    def run(self, argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
        """Run a command of the build; returns its standard output.

        Raises:
            CommandError: it failed.
        """
        return commands.run(argv, log=self.log, cwd=cwd, env=env)


@dataclass(frozen=True)
class Artifact:
    """A part as it is kept in the cache. `seconds` is the first build's duration on two cores, downloads included."""

    name: Name
    version: str
    seconds: int
    recipe: Path
    make: Callable[[Build], None]
    programs: Mapping[str, str]
    variant: str = ""  # enters the recipe's digest: what the recipe's files do not say

    def folder(self, cache: Path) -> Path:
        """Where the built part lies."""
        return cache / f"{self.name.value}-{self.version}"

    def is_built(self, cache: Path) -> bool:
        """Whether this very recipe was built."""
        stamp = self.folder(cache) / STAMP
        return stamp.exists() and stamp.read_text() == self.digest()

    def digest(self) -> str:
        """Identity of the recipe: version, variant and every file of it."""
        total = hashlib.sha256(f"{self.version} {self.variant}".encode())
        for file in sorted(self.recipe.rglob("*")) if self.recipe.is_dir() else [self.recipe]:
            if file.is_file():
                total.update(file.read_bytes())
        return total.hexdigest()

    def build(self, cache: Path, progress: Progress) -> Path:
        """Build unless it is there; returns its folder.

        Raises:
            CommandError: a command failed; the message has the end of its log.
            MissingToolError: a program that it needs is missing and cannot be installed.
        """
        target = self.folder(cache)
        if self.is_built(cache):
            return target
        with state.locked(cache / "locks" / f"{self.name.value}.lock"):
            if not self.is_built(cache):  # another command may have built it while we waited
                debian.ensure(self.programs, progress)
                with progress.step(self.title):
                    self._replace(target, cache)
        return target

    @property
    def title(self) -> str:
        """What progress calls the step."""
        return f"{self.name.value} {self.version}"

    def _replace(self, target: Path, cache: Path) -> None:
        draft = target.with_name(f"{target.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        log = cache / "logs" / f"build-{self.name.value}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        self.make(Build(draft=draft, log=log))
        (draft / STAMP).write_text(self.digest())
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)


def ensure(names: Sequence[Name], cache: Path, progress: Progress) -> None:
    """Build what is missing of these, telling beforehand what and how long.

    Raises:
        CommandError: a build failed.
    """
    missing = [ARTIFACTS[name] for name in names if not ARTIFACTS[name].is_built(cache)]
    progress.plan({artifact.title: artifact.seconds for artifact in missing})
    for artifact in missing:
        artifact.build(cache, progress)


def program(cache: Path, name: Name, binary: str) -> Path:
    """Path of a built program; it exists once the part was built."""
    return ARTIFACTS[name].folder(cache) / "bin" / binary


def _go(name: Name, *packages: str, flags: Sequence[str] = (), ldflags: str = "") -> Callable[[Build], None]:
    def make(build: Build) -> None:
        if shutil.which("go") is None:
            msg = f"go not found; {name.value} is built from source and needs Go 1.26 or later on the PATH"
            raise MissingToolError(msg)
        output = build.draft / "bin"
        output.mkdir()
        command = ["go", "build", "-buildvcs=false", *flags, "-ldflags", f"-s -w {ldflags}".strip()]
        build.run([*command, "-o", f"{output}/", *packages], cwd=RECIPES / "go" / name.value)

    return make


def _prometheus_operator(build: Build) -> None:
    _go(Name.PROMETHEUS_OPERATOR, f"{OPERATOR_MODULE}/cmd/operator")(build)
    (build.draft / "bin" / "operator").rename(build.draft / "bin" / "prometheus-operator")
    recipe = RECIPES / "go" / Name.PROMETHEUS_OPERATOR.value
    module = build.run(["go", "list", "-m", "-f", "{{.Dir}}", OPERATOR_MODULE], cwd=recipe).strip()
    shutil.copytree(Path(module) / "example" / "prometheus-operator-crd", build.draft / "crds")
    for file in (build.draft / "crds").iterdir():
        file.chmod(0o644)  # the module cache is read-only


def _kafka(build: Build) -> None:
    goal = "dependency:copy-dependencies"
    pom = RECIPES / "kafka" / "pom.xml"
    build.run(["mvn", "-q", "-B", "-f", pom, goal, f"-DoutputDirectory={build.draft / 'libs'}"], cwd=build.draft)


def _base_image(build: Build) -> None:
    root = build.draft / "rootfs"
    packages = ",".join((RECIPES / "base-image" / "packages.txt").read_text().split())
    build.run(
        [*UNSHARED, "debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root, debian.mirror()],
        cwd=build.draft,
    )
    for waste in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(root / waste, ignore_errors=True)
    (root / "usr/bin/python").symlink_to("python3")  # as in the images that Dockerfiles are written for
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)
    build.run(["tar", "--numeric-owner", "-C", root, "-cf", build.draft / "rootfs.tar", "."], cwd=build.draft)
    shutil.rmtree(root)


def _pause_image(build: Build) -> None:
    source = RECIPES / "pause-image" / "pause.c"
    build.run(["gcc", "-static", "-O2", "-s", "-o", build.draft / "pause", source], cwd=build.draft)
    cache, tag = build.draft.parent, "localhost/testbed-pause:3"

    def run(*argv: str | Path) -> str:
        return build.run(buildah.command(cache, *argv), cwd=build.draft, env=buildah.ENVIRONMENT)

    container = run("from", "scratch").strip()
    run("copy", "--quiet", container, build.draft / "pause", "/pause")
    run("config", "--entrypoint", '["/pause"]', container)
    run("commit", "--rm", container, tag)
    run("push", tag, f"oci-archive:{build.draft / 'image.tar'}:{tag}")


_VERSION = "k8s.io/component-base/version"
_KUBERNETES = "1.34.4"
_PROMETHEUS_TAGS = "remove_all_sd,enable_kubernetes_sd"
_PROMETHEUS = "github.com/prometheus/prometheus/cmd"

ARTIFACTS: Mapping[Name, Artifact] = {
    artifact.name: artifact
    for artifact in (
        Artifact(Name.KAFKA, "4.3.0", 65, RECIPES / "kafka", _kafka, debian.KAFKA),
        Artifact(
            Name.KUBERNETES,
            _KUBERNETES,
            330,
            RECIPES / "go" / "kubernetes",
            _go(
                Name.KUBERNETES,
                *(f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES_PROGRAMS),
                ldflags=f"-X {_VERSION}.gitVersion=v{_KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34",
            ),
            {},
        ),
        Artifact(Name.COREDNS, "1.14.5", 75, RECIPES / "go" / "coredns", _go(Name.COREDNS, "."), {}),
        Artifact(Name.HELM, "3.19.0", 75, RECIPES / "go" / "helm", _go(Name.HELM, "helm.sh/helm/v3/cmd/helm"), {}),
        Artifact(
            Name.HELM_UNITTEST,
            "1.1.2",
            45,
            RECIPES / "go" / "helm-unittest",
            _go(Name.HELM_UNITTEST, "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"),
            {},
        ),
        Artifact(
            Name.PROMETHEUS_OPERATOR, "0.85.0", 110, RECIPES / "go" / "prometheus-operator", _prometheus_operator, {}
        ),
        Artifact(
            Name.PROMETHEUS,
            "0.315.0",
            160,
            RECIPES / "go" / "prometheus",
            _go(
                Name.PROMETHEUS,
                f"{_PROMETHEUS}/prometheus",
                f"{_PROMETHEUS}/promtool",
                flags=("-tags", _PROMETHEUS_TAGS),
            ),
            {},
            variant=_PROMETHEUS_TAGS,
        ),
        Artifact(Name.BASE_IMAGE, "bookworm", 105, RECIPES / "base-image", _base_image, debian.IMAGES),
        Artifact(Name.PAUSE_IMAGE, "3", 3, RECIPES / "pause-image", _pause_image, debian.IMAGES),
    )
}
