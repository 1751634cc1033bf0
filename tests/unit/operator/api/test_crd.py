from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sweep_operator.api.crd import COLUMNS, custom_resource_definition, manifest, root_schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every node of a schema with its path."""
    yield path, schema
    for name, entry in schema.get("properties", {}).items():
        yield from nodes(entry, f"{path}.{name}")
    for keyword, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if keyword in schema:
            yield from nodes(schema[keyword], path + suffix)


def test_the_file_is_the_definition() -> None:
    assert yaml.safe_load(manifest()) == custom_resource_definition()


def test_it_is_small_enough_for_client_side_apply() -> None:
    # The annotation that holds the last applied state may have 262,144 bytes together with all others.
    assert len(manifest()) < 60_000


def test_every_field_is_explained() -> None:
    silent = [
        path for path, node in nodes(root_schema()) if "description" not in node and not path.endswith(("[]", ".*"))
    ]
    assert silent == [".apiVersion", ".kind", ".metadata"]


def test_every_text_of_a_user_and_every_list_has_an_end() -> None:
    # The cost of a rule is estimated from the longest value that it may meet.
    endless = [
        path
        for path, node in nodes(root_schema()["properties"]["spec"])
        if (node.get("type") == "string" and not {"maxLength", "enum"} & node.keys())
        or (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
    ]
    assert endless == []


def test_only_the_template_and_the_items_are_open() -> None:
    open_nodes = {path for path, node in nodes(root_schema()) if "x-kubernetes-preserve-unknown-fields" in node}
    template = ".spec.template"
    assert open_nodes == {
        ".spec.items.list[]",
        ".spec.items.matrix.*[]",
        *(template + path for path in ("", ".metadata", ".spec", ".spec.containers[]")),
    }


def test_columns_show_fields_that_there_are() -> None:
    paths = {path for path, _ in nodes(root_schema())} | {".metadata.creationTimestamp"}
    assert {column["jsonPath"] for column in COLUMNS} <= paths


@pytest.mark.parametrize("column", COLUMNS, ids=[column["name"] for column in COLUMNS])
def test_columns_have_the_type_of_their_field(column: dict[str, Any]) -> None:
    types = {path: node["type"] for path, node in nodes(root_schema()) if "type" in node}
    assert types.get(column["jsonPath"], "date") == column["type"]


def test_the_status_has_no_defaults_of_its_own() -> None:
    # The API server would write them before the operator has seen the sweep.
    assert "default" not in root_schema()["properties"]["status"]
    assert root_schema()["required"] == ["spec"]
