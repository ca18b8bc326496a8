"""Makes the chart's generated files: from `values.py` values, schema and README; the CRD and the dashboard.

`generate.py` writes them; `--check` compares, names what differs and exits 1. The other templates are written by hand.
"""

import difflib
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from dashboard import dashboard
from pydantic import BaseModel
from values import Values

CHARTS = Path(__file__).resolve().parent
CHART = CHARTS / "parallel-consumer-operator"
DEFINITION = CHARTS.parent / "crds" / "parallelconsumers.yaml"
WIDTH = 110
REMEDY = "run `make generate` and commit what it changes"


def values_yaml() -> str:
    """Return the default values, each under the sentence that documents it."""
    head = "# Made from charts/values.py by `make generate`; do not edit. To change a value: -f your-values.yaml\n"
    return head + "".join(_documented(Values(), indent=0))


def schema() -> str:
    """Return the JSON schema by which Helm refuses a value that it does not know."""
    found = Values.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | _plain(found), indent=2) + "\n"


def readme() -> str:
    """Return the chart's README: the introduction, and one row for each value."""
    rows = (f"| `{path}` | `{default}` | {text} |" for path, default, text in _rows(Values(), prefix=""))
    table = "\n".join(["| value | default | what it is |", "|---|---|---|", *rows])
    return f"{(CHARTS / 'introduction.md').read_text()}\n## Values\n\n{table}\n"


def definition() -> str:
    """Return the CRD as a template: installed and kept as the values say."""
    text = DEFINITION.read_text()
    if "{{" in text:
        raise ValueError(f"{DEFINITION} holds '{{{{', which Helm would take for an instruction")
    name = "  name: parallelconsumers.parallelconsumer.dev\n"
    before, _, after = text.partition(name)
    metadata = [
        "  labels:",
        '    {{- include "operator.labels" . | nindent 4 }}',
        "  {{- if .Values.crds.keep }}",
        "  annotations:",
        "    helm.sh/resource-policy: keep",
        "  {{- end }}\n",
    ]
    return "{{- if .Values.crds.install }}\n" + before + name + "\n".join(metadata) + after + "{{- end }}\n"


def files() -> dict[Path, str]:
    """Return what each generated file holds."""
    return {
        CHART / "values.yaml": values_yaml(),
        CHART / "values.schema.json": schema(),
        CHART / "README.md": readme(),
        CHART / "templates" / "definition.yaml": definition(),
        CHART / "dashboards" / "parallel-consumers.json": dashboard(),
    }


def differences() -> Iterator[str]:
    """Say for each generated file how it differs from what it should hold."""
    for path, wanted in files().items():
        found = path.read_text() if path.exists() else ""
        name = f"charts/{CHART.name}/{path.relative_to(CHART)}"
        made = f"{name} (made anew)"
        yield from difflib.unified_diff(found.splitlines(), wanted.splitlines(), name, made, lineterm="")


def _documented(model: BaseModel, *, indent: int) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        pad, value = " " * indent, getattr(model, name)
        yield "" if indent else "\n"
        for line in textwrap.wrap(field.description or "", WIDTH):
            yield f"{pad}# {line}\n"
        if isinstance(value, BaseModel):
            yield f"{pad}{field.alias}:\n"
            yield from _documented(value, indent=indent + 2)
        elif value is not None:
            yield f"{pad}{field.alias}: {_default(value)}\n"
        else:
            yield f"{pad}# {field.alias}:\n"


def _rows(model: BaseModel, *, prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(model).model_fields.items():
        value, path = getattr(model, name), f"{prefix}{field.alias}"
        if isinstance(value, BaseModel):
            yield from _rows(value, prefix=f"{path}.")
        else:
            yield path, _default(value), field.description or ""


def _default(value: Any) -> str:
    """Return a default as YAML on one line."""
    plain = value.value if hasattr(value, "value") else value
    if isinstance(plain, str):
        return json.dumps(plain)
    return yaml.safe_dump(plain, default_flow_style=True).split("\n")[0]


def _plain(node: Any) -> Any:
    """Return a schema without the titles that only repeat the names."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    return [_plain(item) for item in node] if isinstance(node, list) else node


def main(arguments: list[str]) -> int:
    """Write the files, or with --check only compare them; return the exit code."""
    if arguments == ["--check"]:
        found = list(differences())
        sys.stderr.write("\n".join([*found, REMEDY, ""]) if found else "")
        return 1 if found else 0
    if arguments:
        sys.stderr.write(f"{arguments[0]}: the only option is --check\n")
        return 2
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
