"""The generated definition: what is committed is what the models say, and it stays compatible."""

from pathlib import Path
from typing import Any

import yaml

from consumer_runtime.contract.knobs import Knobs, camel_case
from parallel_consumer_operator.generate import files
from parallel_consumer_operator.resource.definition import definition

ROOT = Path(__file__).resolve().parents[4]


def version() -> dict[str, Any]:
    """Return the only version of the definition."""
    found: dict[str, Any] = definition()["spec"]["versions"][0]
    return found


def test_what_is_committed_is_what_the_models_say() -> None:
    """`make generate` would change nothing."""
    for path, text in files(ROOT / "crds").items():
        assert path.read_text() == text


def test_every_knob_of_the_contract_is_a_field_with_its_bounds() -> None:
    """A knob is written once, in the contract, and appears in the resource by itself."""
    execution = version()["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["execution"]["properties"]
    for name, field in Knobs.model_json_schema()["properties"].items():
        schema = execution[camel_case(name)]
        assert (schema["minimum"], schema["maximum"]) == (field["minimum"], field["maximum"])
        assert f"Default: {field['default']}." in schema["description"]


def test_names_columns_and_subresources() -> None:
    """The short name, the category, the columns that kubectl shows, and the scale subresource with a selector."""
    names = definition()["spec"]["names"]
    columns = {column["name"]: column["priority"] for column in version()["additionalPrinterColumns"]}
    assert (names["shortNames"], names["categories"]) == (["pcon"], ["kafka"])
    assert [name for name, priority in columns.items() if priority == 0] == [
        "Mode", "Ready", "Lag", "In-Flight", "Tuning", "Reason", "Age",
    ]  # fmt: skip
    assert version()["subresources"]["scale"]["labelSelectorPath"] == ".status.selector"


def test_the_committed_file_is_plain_yaml() -> None:
    """Anyone can apply it with kubectl: one document, no Python in it."""
    text = (ROOT / "crds" / "parallelconsumers.yaml").read_text()
    assert yaml.safe_load(text)["kind"] == "CustomResourceDefinition"
