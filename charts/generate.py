"""Make the chart's README, the schema of its values and its copy of the CustomResourceDefinition.

python charts/generate.py [--check]

Source of the first two is values.yaml with its comments: `# --` begins a value's description, `# @schema` adds keywords
to its schema (one JSON object). What has no schema in a comment gets the type of its default. An object is closed, and
its fields are values of their own, unless its comment says what else it may hold.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweep_operator.api import crd
from sweep_operator.api.generated import run_generator

CHART = "charts/resumable-sweep"
_FOLDER = Path(__file__).resolve().parent / "resumable-sweep"
_TYPES = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}


class ValuesUnclear(ValueError):
    """values.yaml lacks what is needed to describe a value; the message names the value and the mend."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One entry of values.yaml: `path` as Helm's --set takes it, `fields` where it is a closed object."""

    path: str
    default: Any
    description: str
    keywords: dict[str, Any]
    fields: tuple[Value, ...] | None

    @property
    def name(self) -> str:
        """Its name among its siblings."""
        return self.path.rpartition(".")[2]


def parsed_values(text: str) -> tuple[Value, ...]:
    """Return the values that the text of a values.yaml describes, in its order."""
    return tuple(_fields(yaml.compose(text), lines=text.splitlines(), parents=()))


def _fields(node: yaml.Node | None, *, lines: list[str], parents: tuple[str, ...]) -> Iterator[Value]:
    if not isinstance(node, yaml.MappingNode):
        raise ValuesUnclear(f"{'.'.join(parents) or 'values.yaml'} is not a mapping")
    for key, content in node.value:
        path = (*parents, key.value)
        description, keywords = _comment(lines, above=key.start_mark.line, path=".".join(path))
        fields = None
        if isinstance(content, yaml.MappingNode) and "additionalProperties" not in keywords:
            fields = tuple(_fields(content, lines=lines, parents=path))
            if not fields:
                raise ValuesUnclear(f"{'.'.join(path)} is empty: say in `# @schema` which additionalProperties it has")
        elif not description:
            raise ValuesUnclear(f"{'.'.join(path)} has no description: write one above it, after `# --`")
        default = yaml.safe_load(yaml.serialize(content))
        if isinstance(default, list) and "items" not in keywords:
            raise ValuesUnclear(f"{'.'.join(path)} is a list: say in `# @schema` which items it has")
        yield Value(path=".".join(path), default=default, description=description, keywords=keywords, fields=fields)


def _comment(lines: list[str], *, above: int, path: str) -> tuple[str, dict[str, Any]]:
    start = above
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    text = [line.strip().removeprefix("#").strip() for line in lines[start:above]]
    description: list[str] = []
    keywords: dict[str, Any] = {}
    for line in text:
        if line.startswith("@schema"):
            try:
                keywords = json.loads(line.removeprefix("@schema"))
            except ValueError as error:
                raise ValuesUnclear(f"{path}: what follows @schema is not JSON: {error}") from error
        elif line.startswith("--"):
            description = [line.removeprefix("--").strip()]
        elif description:
            description.append(line)
    return " ".join(description), keywords


def values_schema(values: tuple[Value, ...]) -> dict[str, Any]:
    """Return the JSON Schema by which Helm checks the values it is given."""
    # Helm itself sets `global` where the chart is a part of another one.
    properties = {"global": {"type": "object"}} | {value.name: _schema(value) for value in values}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart resumable-sweep",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _schema(value: Value) -> dict[str, Any]:
    head = {"description": value.description} if value.description else {}
    if value.fields is not None:
        fields = {field.name: _schema(field) for field in value.fields}
        return {**head, "type": "object", "properties": fields, "additionalProperties": False}
    return {**head, "type": _TYPES[type(value.default)], "default": value.default, **value.keywords}


def readme(values: tuple[Value, ...]) -> str:
    """Return the chart's README."""
    chart = yaml.safe_load((_FOLDER / "Chart.yaml").read_text())
    kubernetes = chart["kubeVersion"].removeprefix(">=").removesuffix("-0")
    rows = [
        f"| `{value.path}` | {_shown(value)} | {value.description.replace('|', chr(92) + '|')} |"
        for value in _leaves(values)
    ]
    return "\n".join(
        [
            "<!-- Made by `python charts/generate.py`: do not edit. -->",
            "",
            f"# {chart['name']}",
            "",
            f"{chart['description']}. Chart {chart['version']}, for Kubernetes {kubernetes} or newer.",
            "",
            "```sh",
            "helm install resumable-sweep charts/resumable-sweep --namespace resumable-sweep --create-namespace \\",
            "  --set operator.image.registry=REGISTRY --set sidecar.image.registry=REGISTRY",
            "```",
            "",
            "How to build the images, upgrade and uninstall: [Install the operator](../../docs/tasks/install.md).",
            "",
            "## Values",
            "",
            "| value | default | what it does |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _leaves(values: tuple[Value, ...]) -> Iterator[Value]:
    for value in values:
        if value.fields is None:
            yield value
        else:
            yield from _leaves(value.fields)


def _shown(value: Value) -> str:
    text = json.dumps(value.default)
    return f"`{text}`" if len(text) <= 120 else "see values.yaml"


def generated_files() -> dict[str, str]:
    """Return all files of the chart that are made from others: path in the repository, content."""
    values = parsed_values((_FOLDER / "values.yaml").read_text())
    return {
        f"{CHART}/{crd.PATH.replace('crds/', 'files/')}": crd.manifest(),
        f"{CHART}/values.schema.json": json.dumps(values_schema(values), indent=2) + "\n",
        f"{CHART}/README.md": readme(values),
    }


if __name__ == "__main__":
    sys.exit(run_generator(generated_files(), description="Generate the derived files of the Helm chart."))
