import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from testbed import artifacts
from testbed.artifacts import ARTIFACTS, Artifact, Build, Name
from testbed.errors import CommandError
from testbed.progress import Progress


class Recipe:
    """A build that counts how often it is made and can be told to fail half-way."""

    def __init__(self) -> None:
        self.made = 0
        self.broken = False

    def make(self, build: Build) -> None:
        """Make the first half, fail if told to, make the rest."""
        self.made += 1
        (build.draft / "half").write_text("made")
        if self.broken:
            build.run(["sh", "-c", "echo out of paper >&2; exit 4"], cwd=build.draft)
        (build.draft / "whole").write_text("made")


@pytest.fixture
def recipe() -> Recipe:
    """The build behind `artifact`."""
    return Recipe()


@pytest.fixture
def artifact(recipe: Recipe, tmp_path: Path) -> Artifact:
    """A part of one recipe file that takes no time."""
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "go.mod").write_text("module x\n")
    return Artifact(Name.HELM, "1.0", 1, tmp_path / "recipe", recipe.make, {})


def test_a_second_build_does_nothing(artifact: Artifact, recipe: Recipe, tmp_path: Path):
    """What is built stays built, at the folder named after part and version."""
    folder = artifact.build(tmp_path, Progress())
    assert folder == tmp_path / "helm-1.0"
    assert (folder / "whole").exists()
    artifact.build(tmp_path, Progress())
    assert recipe.made == 1


def test_a_failed_build_leaves_nothing_that_looks_built(artifact: Artifact, recipe: Recipe, tmp_path: Path):
    """The error shows the end of the log; the next build starts anew and succeeds."""
    recipe.broken = True
    with pytest.raises(CommandError, match=r"sh failed with exit code 4(?s:.*)out of paper"):
        artifact.build(tmp_path, Progress())
    assert not artifact.is_built(tmp_path)
    assert not artifact.folder(tmp_path).exists()
    recipe.broken = False
    assert (artifact.build(tmp_path, Progress()) / "whole").exists()


def test_a_changed_recipe_is_built_anew(artifact: Artifact, recipe: Recipe, tmp_path: Path):
    """An edit of the recipe, of the version or of the variant makes the old build stale."""
    artifact.build(tmp_path, Progress())
    (artifact.recipe / "go.mod").write_text("module y\n")
    assert not artifact.is_built(tmp_path)
    artifact.build(tmp_path, Progress())
    assert artifact.is_built(tmp_path)
    assert not replace(artifact, variant="tags").is_built(tmp_path)
    assert recipe.made == 2


def test_two_commands_build_once(artifact: Artifact, recipe: Recipe, tmp_path: Path):
    """The second waits for the first and uses what it built."""
    threads = [threading.Thread(target=artifact.build, args=(tmp_path, Progress())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert recipe.made == 1


def test_only_what_is_missing_is_announced_and_built(
    artifact: Artifact,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """The plan names what will be built; with everything there, nothing is said."""
    monkeypatch.setattr(artifacts, "ARTIFACTS", {Name.HELM: artifact})
    artifacts.ensure([Name.HELM], tmp_path, Progress())
    assert "To build: helm 1.0; about 1 s." in capsys.readouterr().err
    artifacts.ensure([Name.HELM], tmp_path, Progress())
    assert capsys.readouterr().err == ""


def test_every_part_has_its_recipe_in_the_tree():
    """A clone has all that the builds need, and versions are pinned where they are said to be."""
    for artifact in ARTIFACTS.values():
        assert artifact.recipe.is_dir()
        for file in artifact.recipe.glob("go.mod"):
            assert file.with_name("go.sum").exists()
            assert re.search(rf" v{re.escape(artifact.version)}\b", file.read_text())
    assert (
        f"<version>{ARTIFACTS[Name.KAFKA].version}</version>" in (ARTIFACTS[Name.KAFKA].recipe / "pom.xml").read_text()
    )
