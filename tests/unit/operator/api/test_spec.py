from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sweep_operator.api import EnvVar, ResumableSweepSpec

LEAST: dict[str, Any] = {
    "shards": 8,
    "checkpoint": {"url": "gs://bucket/sweeps", "file": "results.jsonl"},
    "template": {"spec": {"containers": [{"name": "experiment", "image": "digits:1"}]}},
}


def spec(**changes: Any) -> ResumableSweepSpec:
    return ResumableSweepSpec.model_validate({**LEAST, **changes})


def test_what_may_be_left_out() -> None:
    least = spec()
    assert (least.parallelism, least.run_id, least.items, least.placement) == (None, None, None, None)
    assert least.suspend is False
    assert least.budgets.user_failures == 3
    assert least.checkpoint.interval == "10s"
    assert least.checkpoint.env == []


def test_specs_share_no_defaults() -> None:
    one, other = spec(), spec()
    one.budgets.user_failures = 9
    one.checkpoint.env.append(EnvVar(name="A", value="b"))
    assert other.budgets.user_failures == 3
    assert other.checkpoint.env == []


@pytest.mark.parametrize("field", ["shards", "checkpoint", "template"])
def test_what_may_not(field: str) -> None:
    with pytest.raises(ValidationError, match=f"{field}\n  Field required"):
        ResumableSweepSpec.model_validate({name: value for name, value in LEAST.items() if name != field})


def test_names_are_camel_case_on_the_wire() -> None:
    written = {
        "runId": "a",
        "items": {"configMapKeyRef": {"name": "items", "key": "items.jsonl"}},
        "placement": {
            "pools": [{"name": "spot", "nodeSelector": {"a": "b"}, "tolerations": [{"tolerationSeconds": 3}]}]
        },
        "budgets": {
            "userFailures": 0,
            "infrastructure": {"limit": 7, "window": "1h"},
            "reclaims": {"limit": 9, "window": "24h"},
            "noProgressAttempts": 0,
            "unexplained": 1,
        },
    }
    read = spec(**written)
    assert read.run_id == "a"
    assert read.items is not None
    assert read.items.config_map_key_ref is not None
    assert read.items.config_map_key_ref.key == "items.jsonl"
    assert read.placement is not None
    assert read.placement.pools[0].node_selector == {"a": "b"}
    assert read.to_json().items() >= written.items()


@pytest.mark.parametrize(
    "items",
    [
        {"list": [None, True, 1, 1.5, "a", [], {"key": "k", "snake_case": {"deep": None}}]},
        {"matrix": {"snake_case": [1, "1", None], "b": [{"c": []}]}},
    ],
)
def test_items_come_back_as_they_were(items: dict[str, Any]) -> None:
    read = spec(items=items).items
    assert read is not None
    # Nulls within an item are values, not absent fields.
    assert read.model_dump(mode="json", by_alias=True, exclude_unset=True) == items


@pytest.mark.parametrize(
    ("items", "given"),
    [
        ({}, "none"),
        ({"list": [1], "matrix": {"a": [1]}}, "list, matrix"),
        ({"list": [1], "configMapKeyRef": {"name": "n", "key": "k"}}, "list, configMapKeyRef"),
    ],
)
def test_items_are_named_in_one_way(items: dict[str, Any], given: str) -> None:
    with pytest.raises(ValidationError, match=f"items has {given}, but needs exactly one of list, matrix and"):
        spec(items=items)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"shards": 0}, "shards"),
        ({"shards": 10_001}, "shards"),
        ({"parallelism": 0}, "parallelism"),
        ({"runId": "a/b"}, "runId"),
        ({"runId": "-a"}, "runId"),
        ({"items": {"list": []}}, "items.list"),
        ({"items": {"matrix": {"a": []}}}, "items.matrix.a"),
        ({"budgets": {"userFailures": -1}}, "budgets.userFailures"),
        ({"budgets": {"infrastructure": {"limit": 301}}}, "budgets.infrastructure.limit"),
        ({"budgets": {"reclaims": {"limit": 3, "window": "soon"}}}, "budgets.reclaims.window"),
        ({"budgets": {"reclaims": {}}}, "budgets.reclaims.limit"),
        ({"budgets": {"noProgressAttempts": -1}}, "budgets.noProgressAttempts"),
        ({"budgets": {"unexplained": 1001}}, "budgets.unexplained"),
        ({"onShardFailure": "Stop"}, "onShardFailure"),
        ({"ttlSecondsAfterFinished": -1}, "ttlSecondsAfterFinished"),
        ({"keepPods": 101}, "keepPods"),
        ({"checkpoint": {**LEAST["checkpoint"], "interval": "soon"}}, "checkpoint.interval"),
        ({"placement": {"pools": []}}, "placement.pools"),
        ({"placement": {"pools": [{"name": "a"}, {"name": "b"}]}}, "placement.pools"),
    ],
)
def test_refuses(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        spec(**changes)
    assert {".".join(map(str, error["loc"])) for error in caught.value.errors()} == {path}


@pytest.mark.parametrize("template", [{}, {"spec": {}}, {"spec": {"containers": []}}, {"spec": []}])
def test_a_template_has_containers(template: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"template\.spec\.containers is missing or empty"):
        spec(template=template)


def test_a_template_is_kept_as_it_was_written() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "x": None}], "tomorrow": 1}}
    assert spec(template=template).template == template


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert spec(deadline="1h").to_json().keys() == spec().to_json().keys()
