from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from sweep_operator.api.model import ApiModel, Time
from sweep_operator.api.rule import Rule, checked_by
from sweep_operator.api.structural import NotStructural, Schema, structural_schema


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(ApiModel):
    """What the inner one
    is."""

    count: int


def property_of(annotation: Any, **keywords: Any) -> Schema:
    """Return the structural schema of a field with this type."""
    model: Any = type("Model", (ApiModel,), {"__annotations__": {"field": annotation}, **keywords})
    schema: Schema = structural_schema(model)["properties"]["field"]
    return schema


ANY = {"x-kubernetes-preserve-unknown-fields": True, "nullable": True}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (Annotated[int, Field(ge=1, le=9)], {"type": "integer", "minimum": 1, "maximum": 9}),
        # JSON Schema has the limit as a number, OpenAPI 3.0 has it beside a flag.
        (Annotated[float, Field(gt=0)], {"type": "number", "minimum": 0.0, "exclusiveMinimum": True}),
        (Annotated[float, Field(lt=1)], {"type": "number", "maximum": 1.0, "exclusiveMaximum": True}),
        (Annotated[str, Field(max_length=3, pattern="^a")], {"type": "string", "maxLength": 3, "pattern": "^a"}),
        (Annotated[list[int], Field(max_length=2)], {"type": "array", "maxItems": 2, "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict[str, Any], {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (Any, ANY),
        (list[Any], {"type": "array", "items": ANY}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Time, {"type": "string", "format": "date-time"}),
    ],
)
def test_a_type_has_its_schema(annotation: Any, schema: Schema) -> None:
    assert property_of(annotation) == schema
    # Optional is the same, and merely not required.
    optional: Any = type("Model", (ApiModel,), {"__annotations__": {"field": annotation | None}, "field": None})
    whole = structural_schema(optional)
    assert whole["properties"]["field"] == schema
    assert "required" not in whole


def test_a_reference_is_written_out() -> None:
    inner = {
        "description": "What the inner one is.",
        "type": "object",
        "properties": {"count": {"type": "integer"}},
        "required": ["count"],
    }
    assert property_of(Inner) == inner
    assert property_of(list[Inner]) == {"type": "array", "items": inner}


def test_the_field_knows_better_than_its_type() -> None:
    class Outer(ApiModel):
        inner: Inner | None = None
        """What it is here."""

    assert structural_schema(Outer)["properties"]["inner"]["description"] == "What it is here."


def test_defaults_are_kept_and_null_is_none() -> None:
    assert property_of(int, field=3) == {"type": "integer", "default": 3}
    assert property_of(Inner, field=Inner(count=1))["default"] == {"count": 1}
    assert "default" not in property_of(int | None, field=None)


def test_absent_fields_are_absent_from_defaults_too() -> None:
    class Outer(ApiModel):
        """What the outer one is."""

        inner: Inner | None = None
        count: int | None = None
        kept: int = 1

    # The API server refuses a definition whose default is null where the schema says anything else.
    assert property_of(Outer, field=Outer(inner=Inner(count=2)))["default"] == {"inner": {"count": 2}, "kept": 1}
    assert property_of(Outer, field=Outer())["default"] == {"kept": 1}


def test_names_are_those_on_the_wire() -> None:
    class Named(ApiModel):
        two_words: int
        list_: list[int] = Field(alias="list")

    schema = structural_schema(Named)
    assert list(schema["properties"]) == ["twoWords", "list"]
    assert schema["required"] == ["twoWords", "list"]


def test_rules_are_kept() -> None:
    rule = Rule(check="self > 1", static="too small", message="'it is ' + self", field=".x")
    schema = property_of(Annotated[int, Field(json_schema_extra=checked_by(rule))])
    assert schema["x-kubernetes-validations"] == [
        {"rule": "self > 1", "message": "too small", "messageExpression": "'it is ' + self", "fieldPath": ".x"}
    ]


def test_a_person_can_read_it() -> None:
    schema = property_of(Annotated[int, Field(ge=0, le=9, description="What it is.", json_schema_extra=checked_by())])
    assert list(schema) == ["description", "type", "maximum", "minimum", "x-kubernetes-validations"]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int | str, "Model.field: a choice between 2 schemas is not structural"),
        (tuple[int, str], "Model.field: a structural schema has no 'prefixItems'"),
        (dict[Annotated[str, Field(pattern="^a")], int], "Model.field: a structural schema has no 'patternProperties'"),
        (Annotated[Any, Field(json_schema_extra={"minLength": 1})], "Model.field: no type beside minLength"),
        (
            dict[str, Annotated[int, Field(json_schema_extra={"if": {}})]],
            r"Model.field.\*: a structural schema has no 'if'",
        ),
    ],
)
def test_what_has_no_form_is_refused(annotation: Any, words: str) -> None:
    with pytest.raises(NotStructural, match=words):
        property_of(annotation)


def test_a_type_within_itself_is_refused() -> None:
    class Endless(BaseModel):
        next: Endless | None = None

    with pytest.raises(NotStructural, match=r"Endless\.next: Endless is a part of itself"):
        structural_schema(Endless)
