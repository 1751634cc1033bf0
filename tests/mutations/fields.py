"""The fields of a sweep's `spec`, found by walking the definition that the API server gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from sweep_operator.api.crd import root_schema

Schema = dict[str, Any]
ANY_ITEM = "[]"
ANY_KEY = "*"

# The template is open: the schema knows what a sweep depends on, and the API server the rest. These are the fields of
# it that people change, with schemas no narrower than those of core/v1 that a pod is checked against.
_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "integer"}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}
_OF_A_CONTAINER: dict[str, Schema] = {
    "command": {"type": "array", "items": _TEXT},
    "env": {"type": "array", "items": {"type": "object", "properties": {"name": _TEXT, "value": _TEXT}}},
    "resources": {"type": "object", "properties": {"limits": _TEXTS, "requests": _TEXTS}},
    "securityContext": {"type": "object", "properties": {"runAsUser": _NUMBER}},
    "lifecycle": {"type": "object"},
    "volumeMounts": {"type": "array"},
}
_OF_A_POD: dict[str, Schema] = {
    "initContainers": {"type": "array"},
    "volumes": {"type": "array"},
    "nodeSelector": _TEXTS,
    "tolerations": {"type": "array"},
    "affinity": {"type": "object"},
    "serviceAccountName": _TEXT,
    "priorityClassName": _TEXT,
    "imagePullSecrets": {"type": "array"},
    "terminationGracePeriodSeconds": _NUMBER,
    "activeDeadlineSeconds": _NUMBER,
    "hostNetwork": {"type": "boolean"},
    "securityContext": {"type": "object", "properties": {"runAsUser": _NUMBER, "fsGroup": _NUMBER}},
}


@dataclass(frozen=True)
class Field:
    """One field, leaf or container: where it is (names, `[]` for any entry, `*` for any key) and its schema."""

    path: tuple[str, ...]
    schema: Schema
    in_template: bool = False

    def __str__(self) -> str:
        return ".".join(self.path).replace(f".{ANY_ITEM}", ANY_ITEM)

    @property
    def type(self) -> str:
        """Its JSON type, `any` where the schema leaves that open."""
        return str(self.schema.get("type", "any"))


@cache
def fields() -> tuple[Field, ...]:
    """Return all fields of `spec`, each container before what it holds."""
    found = list(_within(root_schema()["properties"]["spec"], path=()))
    return (*found, *_of_the_template({field.path for field in found}))


@cache
def frozen_fields() -> frozenset[str]:
    """Return the fields that a rule of the definition keeps as they are, by name."""
    spec = root_schema()["properties"]["spec"]
    by_parent = {
        rule["fieldPath"].lstrip(".")
        for rule in spec.get("x-kubernetes-validations", ())
        if "oldSelf" in rule["rule"] and rule.get("fieldPath")
    }
    by_themselves = {
        str(field)
        for field in fields()
        if any("oldSelf" in rule["rule"] for rule in field.schema.get("x-kubernetes-validations", ()))
    }
    return frozenset(by_parent | by_themselves)


def is_frozen(field: Field) -> bool:
    """Return whether the field, or one that holds it, cannot change."""
    frozen = frozen_fields()
    return any(str(Field(field.path[:end], {})) in frozen for end in range(1, len(field.path) + 1))


def _within(schema: Schema, *, path: tuple[str, ...]) -> Iterator[Field]:
    for name, part in schema.get("properties", {}).items():
        yield from _field(part, path=(*path, name))
    if "items" in schema:
        yield from _field(schema["items"], path=(*path, ANY_ITEM))
    if "additionalProperties" in schema:
        yield from _field(schema["additionalProperties"], path=(*path, ANY_KEY))


def _field(schema: Schema, *, path: tuple[str, ...]) -> Iterator[Field]:
    yield Field(path, schema, in_template=path[0] == "template")
    yield from _within(schema, path=path)


def _of_the_template(known: set[tuple[str, ...]]) -> Iterator[Field]:
    pod = ("template", "spec")
    container = (*pod, "containers", ANY_ITEM)
    metadata = {"labels": _TEXTS, "annotations": _TEXTS}
    for place, parts in ((("template", "metadata"), metadata), (pod, _OF_A_POD), (container, _OF_A_CONTAINER)):
        for name, schema in parts.items():
            for field in _field(schema, path=(*place, name)):
                if field.path not in known:
                    yield field
