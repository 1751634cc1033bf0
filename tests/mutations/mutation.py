"""A change of one field of a sweep's spec, by a name that brings the same about again."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from mutations.fields import ANY_ITEM, ANY_KEY, Field, fields
from mutations.values import REMOVED, ways


@dataclass(frozen=True, order=True)
class Mutation:
    """`field` (as it is named in the definition) is changed in the way of `how`; its text is `field=how`."""

    field: str
    how: str

    def __str__(self) -> str:
        return f"{self.field}={self.how}"

    def applied(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return a changed copy of `spec`.

        Raises
        ------
        ValueError
            Where this spec has no such field to be changed, or it cannot be changed so.
        """
        after = copy.deepcopy(dict(spec))
        field = _by_name()[self.field]
        holder, last = _place(after, field.path)
        offered = ways(field, _value(holder, last))
        if self.how not in offered:
            raise ValueError(f"{self}: {self.field} can be changed in these ways: {', '.join(sorted(offered))}")
        _set(holder, last, offered[self.how])
        return after

    def value_in(self, spec: Mapping[str, Any]) -> Any:
        """Return what the field holds in `spec`, REMOVED where it is not there."""
        try:
            return _value(*_place(dict(spec), _by_name()[self.field].path))
        except ValueError:
            return REMOVED


def parsed_mutations(text: str) -> list[Mutation]:
    """Return the mutations of a text: one, or several with `+` in between.

    Raises
    ------
    ValueError
        Where a field is unknown.
    """
    found = []
    for part in text.split("+"):
        name, _, how = part.partition("=")
        if name not in _by_name():
            raise ValueError(f"{part!r}: the definition has no field {name!r}")
        found.append(Mutation(name, how))
    return found


def mutations_of(field: Field, spec: Mapping[str, Any]) -> list[Mutation]:
    """Return all ways to change a field of `spec`, none where `spec` has no place for it."""
    try:
        current = _value(*_place(copy.deepcopy(dict(spec)), field.path))
    except ValueError:
        return []
    return [Mutation(str(field), how) for how in sorted(ways(field, current))]


@cache
def _by_name() -> dict[str, Field]:
    return {str(field): field for field in fields()}


def _place(spec: dict[str, Any], path: Sequence[str]) -> tuple[Any, Any]:
    """Return what holds the field, and the field's key in it; of several entries, the one that goes the rest of way."""
    holder: Any = spec
    for at, part in enumerate(path[:-1]):
        holder = _entry(holder, part, path[at + 1 :])
    last = path[-1]
    if last in (ANY_ITEM, ANY_KEY):
        last = _first(holder)
    elif not isinstance(holder, dict):
        raise ValueError(f"nothing holds {'.'.join(path)}")
    return holder, last


def _entry(holder: Any, part: str, rest: Sequence[str]) -> Any:
    if part == ANY_ITEM:
        for entry in holder:
            try:
                _place(entry, rest) if isinstance(entry, dict) else None
            except ValueError:
                continue
            if rest[0] in entry or len(rest) == 1:
                return entry
        raise ValueError(f"no entry has {'.'.join(rest)}")
    key = _first(holder) if part == ANY_KEY else part
    if not isinstance(holder, dict) or key not in holder:
        raise ValueError(f"there is no {part}")
    return holder[key]


def _first(holder: Any) -> Any:
    if not holder or not isinstance(holder, dict | list):
        raise ValueError("there is no entry")
    return 0 if isinstance(holder, list) else min(holder)


def _value(holder: Any, last: Any) -> Any:
    return holder[last] if isinstance(holder, list) else holder.get(last, REMOVED)


def _set(holder: Any, last: Any, value: Any) -> None:
    if value is not REMOVED:
        holder[last] = value
    else:
        del holder[last]
