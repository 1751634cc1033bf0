"""The reference of the custom resource, made from the same schema that the API server checks.

python -m sweep_operator.api.reference [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from sweep_operator.api import names
from sweep_operator.api.crd import COLUMNS, root_schema
from sweep_operator.api.generated import run_generator
from sweep_operator.api.rule import KEY
from sweep_operator.api.structural import Schema

PATH = "docs/reference/api.md"

_INTRODUCTION = f"""\
<!-- Made by `python -m sweep_operator.api.reference`: do not edit. -->

# {names.KIND}

`{names.API_VERSION}`, namespaced, short name `{names.SHORT_NAME}`. The API server itself checks all that is said here;
`kubectl explain {names.SHORT_NAME}.spec` says the same on a cluster. Fields in **bold** are required.
"""


def reference() -> str:
    """Return the page."""
    root = root_schema()
    parts = [_INTRODUCTION, _rules(root, path="metadata")]
    for field in ("spec", "status"):
        parts += _sections(root["properties"][field], path=field)
    parts.append(_columns())
    return "\n".join(part for part in parts if part)


def _sections(schema: Schema, *, path: str) -> Iterator[str]:
    """Yield the section of an object, then those of the objects within it."""
    required = schema.get("required", [])
    rows = [_row(name, field, required=name in required) for name, field in schema["properties"].items()]
    yield f"## {path}\n\n{schema['description']}\n"
    yield "\n".join(["| field | type | default | |", "| --- | --- | --- | --- |", *rows, ""])
    yield _rules(schema, path=path)
    for name, field in schema["properties"].items():
        suffix = ""
        while field.get("type") == "array":
            field, suffix = field["items"], f"{suffix}[]"
        if "properties" in field:
            yield from _sections(field, path=f"{path}.{name}{suffix}")


def _row(name: str, field: Schema, *, required: bool) -> str:
    default = f"`{json.dumps(field['default'])}`" if "default" in field else ""
    # That a field cannot change is in its description already.
    checks = [rule for rule in field.get(KEY, []) if "oldSelf" not in rule["rule"]]
    sentences = [field["description"], *_limits(field), *map(_sentence, checks)]
    if "properties" in field:  # It has a section of its own, which says the rules.
        sentences = [field["description"]]
    text = " ".join(sentences).replace("|", "\\|")
    return f"| {f'**`{name}`**' if required else f'`{name}`'} | {_type(field)} | {default} | {text} |"


def _type(field: Schema) -> str:
    match field.get("type"):
        case None:
            return "any JSON"
        case "array":
            return f"list of {_type(field['items'])}"
        case "object" if "additionalProperties" in field:
            return f"map of {_type(field['additionalProperties'])}"
        case "string" if "format" in field:
            return str(field["format"])
        case kind:
            return str(kind)


def _limits(field: Schema) -> Iterator[str]:
    """Yield, as sentences, what the schema itself demands of a value."""
    if "enum" in field:
        yield f"One of {', '.join(f'`{value}`' for value in field['enum'])}."
    for unit, least, most in (
        ("", "minimum", "maximum"),
        (" characters", "minLength", "maxLength"),
        (" entries", "minItems", "maxItems"),
        (" entries", "minProperties", "maxProperties"),
    ):
        low, high = field.get(least), field.get(most)
        if low is not None and low == high:
            yield f"Exactly {low}{unit.replace('entries', 'entry') if low == 1 else unit}."
        elif high is not None:
            yield f"{low:,} to {high:,}{unit}." if low is not None else f"At most {high:,}{unit}."
        elif low:
            yield f"At least {low:,}{unit}."
    if "pattern" in field:
        yield f"Matches `{field['pattern']}`."


def _rules(schema: Schema, *, path: str) -> str:
    lines = [f"- {_sentence(rule)}" for rule in schema.get(KEY, [])]
    return "\n".join([f"Rules of {path}:\n", *lines, ""]) if lines else ""


def _sentence(rule: dict[str, str]) -> str:
    """Return what a rule demands; its message begins with the name of the field."""
    field, _, demand = rule["message"].partition(" ")
    return f"`{field}` {demand}."


def _columns() -> str:
    rows = [
        f"| {column['name'].upper()} | `{column['jsonPath']}` | {'`-o wide`' if column.get('priority') else ''} "
        f"| {column['description']} |"
        for column in COLUMNS
    ]
    head = ["## Columns of `kubectl get`\n", "| column | field | | |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    sys.exit(run_generator({PATH: reference()}, description="Generate the reference of the custom resource."))
