"""What a field is changed to: by its schema alone, so that a new field is covered by itself."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from mutations.fields import Field, Schema
from sweep_operator.api.duration import PATTERN as DURATION

REMOVED = object()
"""Instead of a value: the field is left out."""

_OF_ANOTHER_TYPE: dict[str, Any] = {
    "integer": "seven",
    "boolean": "maybe",
    "string": 7,
    "array": {"not": "a list"},
    "object": "text",
    "any": {"any": ["thing", None]},
}
_TEXTS = ("other-1", "gs://bucket/other", "other/1", "metadata.name", "Other1", "o")
"""Tried in turn where a text has to fit a pattern."""
_LONGEST = 400_000
"""No text longer than that is sent, whatever a schema leaves open."""
_BOUND = re.compile(r"duration\(self\) >= duration\('([^']+)'\) && duration\(self\) <= duration\('([^']+)'\)")

Value = Callable[[Schema, Any], Any]


def ways(field: Field, current: Any) -> dict[str, Any]:
    """Return, by name, what a field can be changed to whose value is `current` (REMOVED where it has none)."""
    found: dict[str, Any] = {"null": None, "type": _OF_ANOTHER_TYPE[field.type]}
    if current is not REMOVED:
        found["removed"] = REMOVED
    found |= _BY_TYPE[field.type](field.schema, current)
    return {name: value for name, value in found.items() if value is not current and value != current}


def _integers(schema: Schema, current: Any) -> dict[str, Any]:
    least, most = schema.get("minimum", 0), schema.get("maximum", 1 << 31)
    now = current if isinstance(current, int) else least
    return {
        "other": now + 1 if now < most else now - 1,
        "least": least,
        "most": most,
        "below": least - 1,
        "above": most + 1,
        "fraction": least + 0.5,
        "huge": 1 << 63,
    }


def _booleans(schema: Schema, current: Any) -> dict[str, Any]:
    return {"other": current is not True}


def _texts(schema: Schema, current: Any) -> dict[str, Any]:
    if "enum" in schema:
        others = [each for each in schema["enum"] if each != current]
        return {"other": others[0], "last": others[-1], "invalid": "Nonsense", "empty": ""}
    if schema.get("pattern") == DURATION:
        return _durations(schema)
    longest = min(schema.get("maxLength", 1000), _LONGEST)
    found = {"empty": "", "invalid": "..\n// ?*{}", "too-long": "x" * (longest + 1), "longest": "x" * longest}
    pattern = re.compile(schema.get("pattern", ""))
    fitting = [text for text in _TEXTS if pattern.search(text) and len(text) >= schema.get("minLength", 0)]
    suffixed = [f"{current}1"] if isinstance(current, str) and pattern.search(f"{current}1") else []
    return found | ({"other": [*fitting, *suffixed][-1]} if fitting or suffixed else {})


def _durations(schema: Schema) -> dict[str, Any]:
    found: dict[str, Any] = {"other": "30m", "invalid": "ten", "empty": "", "huge": "9" * 30 + "h"}
    for rule in schema.get("x-kubernetes-validations", ()):
        bounds = _BOUND.search(rule["rule"])
        if bounds:
            least, most = bounds.groups()
            found |= {"least": least, "most": most, "above": f"{most}1ms"}
            if least != "0s":
                found["below"] = "1ms"
    return found


def _arrays(schema: Schema, current: Any) -> dict[str, Any]:
    there = list(current) if isinstance(current, list) else []
    entries = [_renamed(each, number) for number, each in enumerate(there * 2)]
    found: dict[str, Any] = {"empty": [], "hole": [*there, None], "strangers": [*there, {"stranger": True}]}
    if there:
        found |= {"more": [*there, entries[-1]], "twice": [*there, there[0]], "reversed": there[::-1]}
    if "maxItems" in schema and there and schema["maxItems"] <= 100:
        found["too-many"] = [_renamed(there[0], number) for number in range(schema["maxItems"] + 1)]
    return found


def _renamed(entry: Any, number: int) -> Any:
    if isinstance(entry, dict) and "name" in entry:
        return {**copy.deepcopy(entry), "name": f"{entry['name']}{number}"}
    return f"{entry}{number}" if isinstance(entry, str) else entry


def _objects(schema: Schema, current: Any) -> dict[str, Any]:
    there = dict(current) if isinstance(current, dict) else {}
    if "additionalProperties" in schema:
        value = next(iter(there.values()), "x")
        return {
            "empty": {},
            "more": {**there, "another": value},
            "bad-key": {**there, "not a label!": value},
            "strange-value": {**there, "strange": {"a": 1}},
        }
    return {"empty": {}, "stranger": {**there, "aStranger": 1}}


def _anything(schema: Schema, current: Any) -> dict[str, Any]:
    return {"other": "something else"}


_BY_TYPE: dict[str, Value] = {
    "integer": _integers,
    "boolean": _booleans,
    "string": _texts,
    "array": _arrays,
    "object": _objects,
    "any": _anything,
}
