from __future__ import annotations

import types
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep._config import ConfigInvalid, changes_of, config_sha256, json_value
from resumable_sweep.contract.canonical import canonical_json

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.dictionaries(st.text(), JSON_VALUES, max_size=4)


@dataclass
class Optimizer:
    lr: float
    betas: tuple[float, float] = (0.9, 0.99)


class Kind(str, Enum):  # noqa: UP042 - the older form, whose str() is not its value
    SGD = "sgd"


class Level(IntEnum):
    HIGH = 3


@given(CONFIGS)
def test_json_values_are_what_they_are(config: dict[str, Any]) -> None:
    assert canonical_json(json_value(config, "config")) == canonical_json(config)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Optimizer(0.1), {"lr": 0.1, "betas": [0.9, 0.99]}),
        (Path("/data/x"), "/data/x"),
        (np.int64(3), 3),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (Kind.SGD, "sgd"),
        (Level.HIGH, 3),
        (types.MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}),
    ],
    ids=repr,
)
def test_what_json_has_a_form_for_takes_it(value: Any, plain: Any) -> None:
    found = json_value({"x": value}, "config")["x"]
    assert found == plain
    assert type(found) is type(plain)
    assert config_sha256({"x": value}) == config_sha256({"x": plain})


def test_numbers_are_typed_and_the_order_of_names_is_not_seen() -> None:
    values = [1, 1.0, True, "1", [1], None]
    assert len({config_sha256({"x": value}) for value in values}) == len(values)
    assert config_sha256({"a": 1, "b": 2}) == config_sha256({"b": 2, "a": 1})


def test_the_hash_is_that_of_the_canonical_json() -> None:
    # printf '{"a":1,"b":[0.1,"ä"]}' | sha256sum
    assert (
        config_sha256({"b": (0.1, "ä"), "a": 1}) == "1c1164f0d8adf5d97d70634b1ac94be4e477f784ca25c3ca2b8565b126f6b3d8"
    )


def itself() -> dict[str, Any]:
    config: dict[str, Any] = {}
    config["me"] = config
    return config


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"a": {"b": [1, {2, 3}]}}, r"^config\.a\.b\[1\] is a set, .* it is \{2, 3\}$"),
        ({"a.b": {"c": object()}}, r'^config\["a\.b"\]\.c is a object'),
        ({"a": b"x"}, r"^config\.a is a bytes"),
        ({"a": np.zeros(3)}, r"^config\.a is a ndarray.*\.tolist\(\)"),
        ({"a": np.datetime64("2026-01-01")}, r"^config\.a is a datetime64"),
        ({"a": np.longdouble(1)}, r"^config\.a is a longdouble"),
        ({"a": Optimizer}, r"^config\.a is a type"),
        ({"a": {1: 2}}, r"^config\.a has the key 1, a int: JSON's keys are strings"),
        ({"a": "\ud800"}, r"^config\.a has no form in UTF-8"),
        (itself(), r"^config is nested too deeply, or holds itself"),
    ],
)
def test_what_json_has_no_form_for_is_named_by_its_path(config: Any, match: str) -> None:
    with pytest.raises(ConfigInvalid, match=match):
        config_sha256(config)


@given(CONFIGS, CONFIGS)
def test_there_are_changes_where_the_hashes_differ_and_only_there(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert bool(changes_of(one, other)) is (config_sha256(one) != config_sha256(other))


def test_changes_are_told_by_dotted_path() -> None:
    before = {"optimizer": {"lr": 0.1, "name": "sgd"}, "layers": [1, 2], "epochs": 1, "a.b": 1, "gone": {"x": 1}}
    now = {"optimizer": {"lr": 0.01, "name": "sgd", "momentum": 0.9}, "layers": [1, 3], "epochs": 1.0, "a.b": 2}
    assert changes_of(before, now) == [
        "optimizer.lr: 0.1 -> 0.01",
        "optimizer.momentum: added, 0.9",
        "layers[1]: 2 -> 3",
        "epochs: 1 -> 1.0",
        '["a.b"]: 1 -> 2',
        'gone: removed, was {"x":1}',
    ]
    assert changes_of({"a": [1]}, {"a": [1, 2]}) == ["a: [1] -> [1,2]"]
    assert len(changes_of({"a": "x" * 500}, {"a": "y"})[0]) < 120
