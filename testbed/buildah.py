"""Running buildah without a container engine: chroot isolation, a store of its own in the cache, mounts of its own."""

import os
from pathlib import Path

# pip's settings on this machine (where packages come from, which certificate) become lines of a mounted pip.conf.
PIP_PREFIX = "PIP_"
ENVIRONMENT = {"BUILDAH_ISOLATION": "chroot"}
CERTIFICATES = Path("/etc/ssl/certs")


def command(cache: Path, *argv: str | Path) -> list[str]:
    """A buildah command line. The mount namespace of its own is so that the store leaves no mount behind."""
    store = cache / "buildah"
    private = ["unshare", "--mount", "--propagation", "private"]
    return [*private, "buildah", "--root", str(store / "store"), "--runroot", str(store / "run"), *map(str, argv)]


def build_mounts(scratch: Path) -> list[str]:
    """Options that give a build this machine's certificates and pip settings without leaving them in the image."""
    configuration = scratch / "pip.conf"
    configuration.write_text(pip_configuration(dict(os.environ)))
    mounts = [f"{configuration}:/etc/pip.conf:ro", *_local_folders(dict(os.environ))]
    if CERTIFICATES.is_dir():
        mounts.append(f"{CERTIFICATES}:{CERTIFICATES}:ro")
    return [word for mount in mounts for word in ("--volume", mount)]


def pip_configuration(environment: dict[str, str]) -> str:
    """The pip settings of an environment as the file that pip reads for all users."""
    options = {
        name.removeprefix(PIP_PREFIX).lower().replace("_", "-"): value
        for name, value in sorted(environment.items())
        if name.startswith(PIP_PREFIX)
    }
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in options.items())


def _local_folders(environment: dict[str, str]) -> list[str]:
    """Folders of packages that pip was told to look in; they must be there inside the build too."""
    links = environment.get("PIP_FIND_LINKS", "").split()
    return [f"{link}:{link}:ro" for link in links if Path(link).is_dir()]
