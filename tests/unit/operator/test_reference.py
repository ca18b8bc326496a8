"""The reference pages leave nothing out: every field, rule, column, knob and metric is on its page."""

from collections.abc import Iterator
from typing import Any

from consumer_runtime.contract.knobs import Knobs, camel_case
from consumer_runtime.contract.metrics import CATALOGUE, CLIENT_CATALOGUE
from parallel_consumer_operator import exposition
from parallel_consumer_operator.reference import knobs_page, metrics_page, resource_page
from parallel_consumer_operator.resource.definition import definition
from parallel_consumer_operator.resource.rules import RULES


def sections() -> dict[str, str]:
    """Return the resource's page by headings."""
    found = (part.partition("\n") for part in resource_page(definition()).split("\n## "))
    return {heading.strip("`"): text for heading, _, text in found}


def fields(schema: dict[str, Any], at: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (section, name, schema) of every field below an object."""
    for name, part in schema["properties"].items():
        yield at, name, part
        inner, place = part, f"{at}.{name}"
        if "items" in part:
            inner, place = part["items"], f"{place}[]"
        if "properties" in inner:
            yield from fields(inner, place)


def test_every_field_is_in_the_table_of_its_object() -> None:
    """With its own description, its default and its bounds."""
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    found, count = sections(), 0
    for part in ("spec", "status"):
        for section, name, field in fields(schema[part], part):
            (row,) = [line for line in found[section].splitlines() if line.startswith(f"| `{name}` |")]
            assert field["description"].replace("|", r"\|") in row
            assert "maximum" not in field or f"to {field['maximum']}" in row
            count += 1
    assert count > 250


def test_every_rule_is_told_in_its_own_words() -> None:
    """What the API server will say can be read beforehand."""
    page = resource_page(definition())
    assert [rule.message for rule in RULES if rule.message not in page] == []


def test_every_knob_and_every_metric_has_its_row() -> None:
    """Both pages are made from the contract."""
    assert [name for name in Knobs.model_fields if f"`execution.{camel_case(name)}`" not in knobs_page()] == []
    every = (*CATALOGUE, *CLIENT_CATALOGUE, *exposition.CATALOGUE)
    assert [each.name for each in every if f"`{each.name}`" not in metrics_page()] == []


def test_the_operator_exports_what_the_page_says_and_nothing_else() -> None:
    """Names and kinds; a counter's family goes without its `_total`."""
    exported = {(each.name, each.type) for each in exposition.OperatorMetrics().registry.collect()}
    assert exported == {(each.name.removesuffix("_total"), each.kind.value) for each in exposition.CATALOGUE}
