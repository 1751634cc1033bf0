"""A configuration as JSON: one form for equal configurations, so that one hash stands for each."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep.contract.canonical import canonical_json

_PLAIN_NAME = re.compile(r"[\w-]+")
_SHOWN_CHARACTERS = 80


class ConfigInvalid(SettingsInvalid):
    """A configuration holds what JSON has no form for; the message names the place by its dotted path."""


def json_value(value: Any, where: str) -> Any:
    """Return `value` as what its JSON form reads back as, made of new lists and mappings.

    Mappings need strings for keys. Tuples become lists, dataclass instances mappings, paths strings, NumPy's scalars
    Python's. `where` is how an error calls the value.

    Raises
    ------
    ConfigInvalid
        Where there is anything else in it.
    """
    try:
        return _json_value(value, where)
    except RecursionError as error:
        raise ConfigInvalid(f"{where} is nested too deeply, or holds itself: make it a tree") from error


def config_sha256(config: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of a configuration; numbers are typed: 1 and 1.0 differ.

    Raises
    ------
    ConfigInvalid
        Where JSON has no form for it.
    """
    return hashlib.sha256(canonical_json(json_value(config, "config")).encode()).hexdigest()


def changes_of(before: Any, now: Any, where: str = "") -> list[str]:
    """Return what differs between two values in JSON form, a line each, by dotted path."""
    if isinstance(before, dict) and isinstance(now, dict):
        lines = []
        for name in [*before, *(name for name in now if name not in before)]:
            place = place_of(where, name)
            if name not in now:
                lines.append(f"{place}: removed, was {_shown(before[name])}")
            elif name not in before:
                lines.append(f"{place}: added, {_shown(now[name])}")
            else:
                lines += changes_of(before[name], now[name], place)
        return lines
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [line for number, (old, new) in pairs for line in changes_of(old, new, f"{where}[{number}]")]
    # As text, since 1 == 1.0 == True, and NaN equals nothing.
    if canonical_json(before) == canonical_json(now):
        return []
    return [f"{where or 'all of it'}: {_shown(before)} -> {_shown(now)}"]


def place_of(where: str, name: str) -> str:
    """Return the dotted path of the entry `name` of the mapping at `where`."""
    if not _PLAIN_NAME.fullmatch(name):
        return f"{where}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{where}.{name}" if where else name


def _json_value(value: Any, where: str) -> Any:
    # Subclasses (enumerations with a value, numpy.float64) are what they are a kind of, as JSON would write them.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(str.__str__(value), where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {_name(name, where): _json_value(entry, place_of(where, str(name))) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(entry, f"{where}[{number}]") for number, entry in enumerate(value)]
    if isinstance(value, PurePath):
        return _text(str(value), where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _json_value(getattr(value, name), place_of(where, name)) for name in names}
    numpy = sys.modules.get("numpy")  # whoever has made a scalar of it has imported it
    if numpy is not None and isinstance(value, numpy.generic):
        plain = value.item()
        if isinstance(plain, bool | int | float):
            return plain
    raise ConfigInvalid(
        f"{where} is a {type(value).__qualname__}, for which JSON has no form: make it of numbers, strings, lists and "
        f"mappings (an array has .tolist(), a namespace vars()); it is {value!r:.{_SHOWN_CHARACTERS}}"
    )


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str):
        raise ConfigInvalid(
            f"{where} has the key {name!r:.{_SHOWN_CHARACTERS}}, a {type(name).__qualname__}: JSON's keys are strings, "
            "so make it one"
        )
    return _text(str.__str__(name), where)


def _text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigInvalid(f"{where} has no form in UTF-8 ({error.reason}): {text!r:.{_SHOWN_CHARACTERS}}") from error
    return text


def _shown(value: Any) -> str:
    text = canonical_json(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
