"""JSON Schema as pydantic writes it, translated to the structural schemas of Kubernetes.

A structural schema (apiextensions.k8s.io/v1) knows no `$ref` and no null type, wants a type on every node, and spells
open objects and exclusive limits its own way. Every keyword is either translated or refused: nothing that a model
demands gets lost on the way to the API server unnoticed.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_OPEN = "x-kubernetes-preserve-unknown-fields"
_KEPT = frozenset(
    {
        "type",
        "enum",
        "format",
        "pattern",
        "required",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "multipleOf",
        "uniqueItems",
        "nullable",
    }
)
_DROPPED = frozenset({"title", "$defs"})
# The order in which a person wants to read a node; what is not named here comes in between.
_FIRST = ("description", "type", "format", "nullable", "default", "enum")
_LAST = ("items", "additionalProperties", "properties", "required", "x-kubernetes-validations")


class NotStructural(ValueError):
    """A schema says something that Kubernetes has no form for; the message names the place and the keyword."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the structural schema of what `model` reads.

    Raises
    ------
    NotStructural
        Where the model asks for something that such a schema cannot say.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _translated(schema, definitions=schema.get("$defs", {}), path=model.__name__)


def _translated(
    schema: Schema, *, definitions: dict[str, Schema], path: str, within: frozenset[str] = frozenset()
) -> Schema:
    """Return the translation of `schema`; `within` names the definitions that it is a part of."""
    schema, within = _inlined(schema, definitions=definitions, path=path, within=within)
    schema, within = _inlined(_without_null(schema, path=path), definitions=definitions, path=path, within=within)

    def part(entry: Schema, name: str) -> Schema:
        return _translated(entry, definitions=definitions, path=path + name, within=within)

    result: Schema = {}
    for keyword, value in schema.items():
        match keyword:
            case "description":
                result[keyword] = " ".join(value.split())
            case "default":
                # A default of null is absence, which structural schemas say by leaving the field out of `required`.
                if value is not None:
                    result[keyword] = _present(value)
            case "const":
                result["enum"] = [value]
            case "exclusiveMinimum" | "exclusiveMaximum":
                result[keyword.removeprefix("exclusive").lower()] = value
                result[keyword] = True
            case "properties":
                result[keyword] = {name: part(entry, f".{name}") for name, entry in value.items()}
            case "items":
                result[keyword] = part(value, "[]")
            case "additionalProperties":
                if value is True:
                    result[_OPEN] = True
                elif value is not False:
                    result[keyword] = part(value, ".*")
            case _ if keyword in _KEPT or keyword.startswith("x-kubernetes-"):
                result[keyword] = value
            case _ if keyword in _DROPPED:
                pass
            case _:
                raise NotStructural(f"{path}: a structural schema has no {keyword!r}")
    if "type" not in result:
        # Any JSON value. Nothing but the description may stand beside it, or the missing type is an oversight.
        strangers = result.keys() - {"description", "default", _OPEN, "nullable"}
        if strangers:
            raise NotStructural(f"{path}: no type beside {', '.join(sorted(strangers))}")
        result |= {_OPEN: True, "nullable": True}
    return _in_order(result)


def _in_order(node: Schema) -> Schema:
    middle = sorted(node.keys() - {*_FIRST, *_LAST})
    return {keyword: node[keyword] for keyword in (*_FIRST, *middle, *_LAST) if keyword in node}


def _present(default: Any) -> Any:
    """Return a default without its absent fields: the API server refuses null where the schema has another type."""
    if isinstance(default, dict):
        return {name: _present(value) for name, value in default.items() if value is not None}
    return default


def _inlined(
    schema: Schema, *, definitions: dict[str, Schema], path: str, within: frozenset[str]
) -> tuple[Schema, frozenset[str]]:
    """Return `schema` with its reference replaced by what it points at; what stands beside the reference wins."""
    while "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name in within:
            raise NotStructural(f"{path}: {name} is a part of itself, and a structural schema has an end")
        within |= {name}
        schema = {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema, within


def _without_null(schema: Schema, *, path: str) -> Schema:
    """Return `schema` with `anyOf: [X, null]` replaced by X: absent and null are the same to Kubernetes."""
    if "anyOf" not in schema:
        return schema
    choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    if len(choices) != 1:
        raise NotStructural(f"{path}: a choice between {len(choices)} schemas is not structural")
    return {**choices[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
