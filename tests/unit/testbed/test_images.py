from pathlib import Path

import pytest

from testbed import buildah, images

DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS build
COPY pyproject.toml constraints.txt ./
COPY --chown=1:1 package \\
     ./package
FROM build AS runtime
COPY --from=build /opt /opt
ADD extra.d ./
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context with inputs and with files that are none."""
    (tmp_path / "package" / "__pycache__").mkdir(parents=True)
    (tmp_path / "extra.d").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "package/code.py", "package/__pycache__/code.pyc", "notes.md"):
        (tmp_path / name).write_text("one")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    return tmp_path


def test_inputs_are_what_the_dockerfile_copies(context: Path):
    """Files from another stage are no inputs, nor is what is not copied."""
    named = {str(source.relative_to(context)) for source in images.sources(context / "Dockerfile")}
    assert named == {"pyproject.toml", "constraints.txt", "package", "extra.d"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [("package/code.py", True), ("Dockerfile", True), ("notes.md", False), ("package/__pycache__/code.pyc", False)],
)
def test_only_inputs_change_the_digest(context: Path, name: str, *, changes: bool):
    """An edited input is built anew; an edited note, or a cache of Python's, is not."""
    before = images.digest(context / "Dockerfile", "runtime", "localhost/x:dev")
    (context / name).write_text((context / name).read_text() + "\n# two\n")
    assert (images.digest(context / "Dockerfile", "runtime", "localhost/x:dev") != before) is changes


def test_each_stage_has_its_own_digest(context: Path):
    """Two stages of one file are two images."""
    digests = {images.digest(context / "Dockerfile", stage, "localhost/x:dev") for stage in ("build", "runtime")}
    assert len(digests) == 2


def test_pip_settings_of_the_machine_become_a_configuration_file():
    """Every PIP_ variable is an option of the file that pip reads; the rest of the environment stays outside."""
    environment = {"PIP_CERT": "/certs/ca.pem", "PIP_INDEX_URL": "https://index.invalid/simple", "HOME": "/x"}
    expected = "[global]\ncert = /certs/ca.pem\nindex-url = https://index.invalid/simple\n"
    assert buildah.pip_configuration(environment) == expected
