"""The chart's generated files: strict, documented, and noticed when they are out of date."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from parallel_consumer_operator import kinds

CHARTS = Path(__file__).resolve().parents[3] / "charts"
PASSED_ON = {"affinity", "global"}


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    """The generator as a module; it stands beside the chart and is no package."""
    sys.path.insert(0, str(CHARTS))
    specification = importlib.util.spec_from_file_location("chart_generate", CHARTS / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path.remove(str(CHARTS))


def objects(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every object of the schema by name; the chart's values are the root."""
    return {"Values": schema, **schema["$defs"]}


def test_an_unknown_value_is_refused_everywhere(generate: ModuleType) -> None:
    """Every object with stated properties forbids others."""
    found = objects(json.loads(generate.schema()))
    with_properties = {name: value for name, value in found.items() if "properties" in value}
    assert with_properties
    assert [name for name, value in with_properties.items() if value.get("additionalProperties") is not False] == []


def test_only_what_kubernetes_checks_itself_is_passed_on_unchecked(generate: ModuleType) -> None:
    """A map of anything is the exception: it is listed here by name."""
    properties = json.loads(generate.schema())["properties"]
    assert {name for name, value in properties.items() if value.get("additionalProperties") is True} == PASSED_ON


def test_every_value_is_documented(generate: ModuleType) -> None:
    """Each row of the README's table ends in words."""
    rows = [line.split(" | ") for line in generate.readme().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert [row[0] for row in rows if len(row[-1].strip(" |")) < 5] == []


def test_values_and_templates_speak_of_the_same_things(generate: ModuleType) -> None:
    """Each value that a template reads exists, and each top-level value is read by a template."""
    values = yaml.safe_load(generate.values_yaml())
    text = "".join(file.read_text() for file in (CHARTS / "parallel-consumer-operator" / "templates").rglob("*.*"))
    read = set(re.findall(r"\.Values\.([\w.]+)", text))
    assert [path for path in read if not _exists(values, path)] == []
    assert set(values) - {path.split(".")[0] for path in read} == {"global"}


def _exists(values: Any, path: str) -> bool:
    for part in path.split("."):
        if part not in values:
            return False
        values = values[part]
    return True


def test_a_file_that_is_out_of_date_is_named(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check exits 0 on what was generated; after an edit it exits 1, shows the difference and says what to do."""
    monkeypatch.setattr(generate, "CHART", tmp_path)
    (tmp_path / "templates").mkdir()
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "README.md").write_text("edited by hand\n")
    assert generate.main(["--check"]) == 1
    complaint = capsys.readouterr().err
    assert "README.md" in complaint
    assert "-edited by hand" in complaint
    assert "make generate" in complaint


def test_an_unknown_option_is_refused(generate: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped option writes nothing and says which one is meant."""
    assert generate.main(["--chek"]) == 2
    assert "--check" in capsys.readouterr().err


def test_the_definition_is_the_one_in_crds(generate: ModuleType) -> None:
    """Without the lines that Helm evaluates, the chart's copy is the definition, nothing added and nothing lost."""
    lines = [line for line in generate.definition().splitlines() if "{{" not in line]
    added = {"  labels:", "  annotations:", "    helm.sh/resource-policy: keep"}
    assert [line for line in lines if line not in added] == generate.DEFINITION.read_text().splitlines()


def test_the_roles_cover_every_kind_that_the_operator_asks_for() -> None:
    """A kind that the operator learns needs a rule in the chart: groups and plurals of both are the same."""
    templates = CHARTS / "parallel-consumer-operator" / "templates"
    rules = "".join(
        line for line in (templates / "_rules.tpl").read_text().splitlines(keepends=True) if "{{" not in line
    )
    granted = {
        (group, resource.partition("/")[0])
        for rule in yaml.safe_load(rules)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    asked = {(kind.api_version.rpartition("/")[0], plural) for kind, plural in kinds.PLURALS.items()}
    assert granted | {("coordination.k8s.io", "leases")} == asked | {("coordination.k8s.io", "leases")}
