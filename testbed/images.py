"""Images without a registry: a base made by debootstrap, the pause image, and the project's own from its Dockerfile."""

import hashlib
import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed import artifacts, buildah, commands, containers, state
from testbed.artifacts import ARTIFACTS, Name
from testbed.layout import PROJECT, Instance, Part
from testbed.progress import Progress

DOCKERFILE = PROJECT / "Dockerfile"
PAUSE = "localhost/testbed-pause:3"
_IGNORED = {"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


@dataclass(frozen=True)
class Image:
    """A built image: its name for manifests, the archive that holds it, and the digest of what it was built from."""

    tag: str
    archive: Path
    digest: str


def ensure_pause(instance: Instance, progress: Progress) -> None:
    """Import the pause image unless containerd has it."""
    if PAUSE not in containers.images(instance):
        folder = ARTIFACTS[Name.PAUSE_IMAGE].build(instance.cache, progress)
        containers.import_image(instance, folder / "image.tar")


def build(target: str, tag: str, *, cache: Path, progress: Progress, dockerfile: Path = DOCKERFILE) -> Image:
    """Build one stage of a Dockerfile; nothing is done when none of its inputs changed since the last time.

    The build context is the Dockerfile's folder. Inputs are what its COPY and ADD lines name.

    Raises:
        CommandError: buildah failed; the message has the end of its log.
    """
    identity = digest(dockerfile, target, tag)
    folder = cache / "images"
    archive = folder / f"{tag.replace('/', '_').replace(':', '_')}-{identity[:12]}.tar"
    with state.locked(cache / "locks" / "images.lock"):
        if not archive.exists():
            base = _ensure_base(cache, progress)
            with progress.step(f"Image {tag}"):
                _build(target, tag, dockerfile=dockerfile, base=base, cache=cache, archive=archive)
    return Image(tag=tag, archive=archive, digest=identity)


def load(instance: Instance, image: Image, progress: Progress) -> None:
    """Give the image to the node unless it has this very one."""
    stamp = state.folder(instance, Part.KUBERNETES) / "images" / image.tag.replace("/", "_")
    if stamp.exists() and stamp.read_text() == image.digest and image.tag in containers.images(instance):
        return
    with progress.step(f"Load {image.tag}"):
        containers.import_image(instance, image.archive)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(image.digest)


def sources(dockerfile: Path) -> Iterator[Path]:
    """Files and folders of the build context that the Dockerfile copies."""
    for line in dockerfile.read_text().replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0].upper() not in {"COPY", "ADD"} or any(w.startswith("--from=") for w in words):
            continue
        for pattern in [word for word in words[1:] if not word.startswith("--")][:-1]:
            yield from sorted(dockerfile.parent.glob(pattern))


def digest(dockerfile: Path, target: str, tag: str) -> str:
    """Identity of an image: the stage, its name, the base and every input."""
    total = hashlib.sha256(f"{target} {tag} {ARTIFACTS[Name.BASE_IMAGE].digest()}".encode())
    for file in [dockerfile, *(file for source in sources(dockerfile) for file in _files(source))]:
        total.update(f"{file.relative_to(dockerfile.parent)} {file.stat().st_mode}\n".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(file for file in source.rglob("*") if file.is_file() and not _IGNORED & set(file.parts))


def _build(target: str, tag: str, *, dockerfile: Path, base: str, cache: Path, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    run = _buildah(cache, f"image-{target}")
    options = ["--layers", "--network", "host", "--build-arg", f"BASE_IMAGE={base}", "--target", target]
    with tempfile.TemporaryDirectory(prefix="testbed-") as scratch:
        mounts = buildah.build_mounts(Path(scratch))
        run("bud", *options, *mounts, "--file", dockerfile, "--tag", tag, dockerfile.parent)
    run("push", tag, f"oci-archive:{draft}:{tag}")
    for older in archive.parent.glob(f"{archive.name.rpartition('-')[0]}-*.tar"):
        older.unlink()
    draft.rename(archive)


def _ensure_base(cache: Path, progress: Progress) -> str:
    """The base image in buildah's store, named after its recipe."""
    artifact = ARTIFACTS[Name.BASE_IMAGE]
    tag = f"localhost/testbed-base:{artifact.digest()[:12]}"
    artifacts.ensure([Name.BASE_IMAGE], cache, progress)
    run = _buildah(cache, "base-image-import")
    if tag not in run("images", "--format", "{{.Name}}:{{.Tag}}").split():
        container = run("from", "scratch").strip()
        run("add", "--quiet", container, artifact.folder(cache) / "rootfs.tar", "/")
        run("config", "--cmd", "python3", container)
        run("commit", "--rm", container, tag)
    return tag


def _buildah(cache: Path, log_name: str) -> Callable[..., str]:
    """A function that runs buildah with a log of that name, begun anew."""
    log = cache / "logs" / f"{log_name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")

    def run(*argv: str | Path) -> str:
        return commands.run(buildah.command(cache, *argv), log=log, cwd=cache, env=buildah.ENVIRONMENT)

    return run
