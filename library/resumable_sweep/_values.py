"""Results as JSON and back: what an experiment records is what it gets when the sweep is resumed."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from resumable_sweep._arrays import array_data, array_of, array_of_npy, dtype_text, is_array, npy_pieces, python_number
from resumable_sweep._plain_json import DEEPEST, RESERVED, SCALARS, holds_reserved_keys, is_unicode, plain_bound
from resumable_sweep._side_files import FILE_TAG, Buffer, SideFile, side_file_of

BYTES_TAG = "$sweep.bytes"
ARRAY_TAG = "$sweep.array"
INLINE_BYTES = 64 << 10
"""How large bytes and arrays may be to stand in the record itself."""
RECORD_BYTES = 1 << 20
"""How large the JSON of a result may be to stand in the record itself."""

Keep = Callable[[Buffer | Sequence[Buffer], str], SideFile]
Fetch = Callable[[SideFile], Buffer]


def encoded_value(value: Any, *, keep: Keep, encode: Callable[[Any], Any] | None = None) -> Any:
    """Return the JSON of the result `value`, to be written as it is with `json.dumps(..., ensure_ascii=False)`.

    It may be `value` itself. Tuples become lists, dataclass instances mappings, numpy's scalars Python numbers, paths
    strings, and keys strings as `json.dumps` makes them. Bytes and numpy arrays stay what they are: up to
    `INLINE_BYTES` they stand in the JSON as base64, beyond in a side file. So does a result (or where it names side
    files, any part of it) whose JSON is larger than `RECORD_BYTES`.

    Parameters
    ----------
    keep:
        Writes a side file, given its content and kind, such as `SideFiles.keep`.
    encode:
        Called with every object that none of this applies to; returns what stands for it, which may hold more such.

    Raises
    ------
    TypeError
        Where an object is of a kind that cannot be kept.
    ValueError
        Where a mapping has a key that is reserved, or two that JSON writes alike; where text is not Unicode, a number
        has too many digits, or all is nested too deeply. Both name the place in the result, and the mend.
    OSError
        Where a side file could not be written.
    """
    bound = plain_bound(value)
    if bound is None:
        value = _Encoding(keep, encode).json_of(value, ())
    elif bound <= RECORD_BYTES:
        return value
    return _within_record(value, keep)


def decoded_value(value: Any, *, fetch: Fetch, decode: Callable[[Any], Any] | None = None) -> Any:
    """Return the result that stands in the log as `value`, which is left as it is.

    Parameters
    ----------
    fetch:
        Returns the verified content of a side file, such as `SideFiles.fetch`; of kind `array` as a bytearray, which
        the array is built on.
    decode:
        Called with the whole result, returns what the program wants in its place.

    Raises
    ------
    ValueError
        Where what stands for an object is damaged, or was written by a newer version.
    ImportError
        Where the result holds an array and numpy is not installed.
    SideFileDamaged, OSError
        Whatever `fetch` raises.
    """
    if holds_reserved_keys(value):
        value = _untagged(value, fetch)
    return value if decode is None else decode(value)


class _Encoding:
    """The way through one result that is not plain, object by object."""

    def __init__(self, keep: Keep, encode: Callable[[Any], Any] | None) -> None:
        self._keep = keep
        self._encode = encode

    def json_of(self, value: Any, place: tuple[Any, ...]) -> Any:
        """Return the JSON of `value`, which stands in the result at `place`, a sequence of keys and numbers."""
        if len(place) > DEEPEST:
            raise ValueError(
                f"{_text_of(place)} is nested more than {DEEPEST} deep, or holds itself: record a flatter result"
            )
        if value is None or type(value) in (bool, float):
            return value
        # The classes' own methods, for a subclass (an enumeration, say) may have others.
        if isinstance(value, str):
            return _checked_text(str.__str__(value), place)
        if isinstance(value, int):
            return _checked_int(int.__int__(value), place)
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, Mapping):
            return self._mapping(value, place)
        if isinstance(value, list | tuple):
            return [self.json_of(part, (*place, number)) for number, part in enumerate(value)]
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(value)
        if isinstance(value, PurePath):
            return _checked_text(str(value), place)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return {name: self.json_of(getattr(value, name), (*place, name)) for name in names}
        number = python_number(value)
        if number is not None:
            return number
        if is_array(value):
            return self._array(value, place)
        return self._unknown(value, place)

    def _mapping(self, value: Mapping[Any, Any], place: tuple[Any, ...]) -> dict[str, Any]:
        found = {}
        for key, part in value.items():
            name = _name_of(key, place)
            if name.startswith(RESERVED):
                raise ValueError(
                    f"{_text_of(place)} has the key {name!r:.200}: names that start with {RESERVED} are reserved"
                )
            if name in found:
                raise ValueError(
                    f"{_text_of(place)} has two keys that JSON writes as {name!r:.200}: rename one of them"
                )
            found[name] = self.json_of(part, (*place, key))
        return found

    def _bytes(self, value: Buffer) -> dict[str, Any]:
        view = memoryview(value)
        if view.nbytes <= INLINE_BYTES:
            return {BYTES_TAG: base64.b64encode(view.tobytes()).decode()}
        return self._keep(view if view.c_contiguous else view.tobytes(), "bytes").tag()

    def _array(self, value: Any, place: tuple[Any, ...]) -> dict[str, Any]:
        try:
            dtype = dtype_text(value.dtype)
        except TypeError as problem:
            mend = "convert it with .astype(...), or to a list with .tolist()"
            raise TypeError(f"{_text_of(place)} is an array, but {problem}: {mend}") from problem
        if value.nbytes <= INLINE_BYTES:
            text = base64.b64encode(array_data(value)).decode()
            return {ARRAY_TAG: {"dtype": dtype, "shape": list(map(int, value.shape)), "base64": text}}
        return self._keep(npy_pieces(value), "array").tag()

    def _unknown(self, value: Any, place: tuple[Any, ...]) -> Any:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        if self._encode is None:
            raise TypeError(f"{_text_of(place)} is a {kind}, which JSON has no form for: {_mend_for(value)}")
        try:
            known = self._encode(value)
        except Exception as error:
            error.add_note(f"encode was called with {_text_of(place)}, a {kind}")
            raise
        # As None is what a function returns that has forgotten a case, it would lose the object silently.
        if known is None or known is value:
            what = "None" if known is None else "the object itself"
            raise TypeError(f"{_text_of(place)} is a {kind}, for which encode returned {what}: {_mend_for(value)}")
        # Deeper by one step, so that an encode that goes in circles comes to an end.
        return self.json_of(known, (*place, _Encoded(kind)))


class _Encoded(str):
    """A step in a place: from an object to what stands for it."""


def _checked_text(text: str, place: tuple[Any, ...]) -> str:
    if not is_unicode(text):
        raise ValueError(
            f"{_text_of(place)} is text with lone surrogates, which UTF-8 has no form for: record it as bytes "
            '(.encode("utf-8", "surrogateescape") where it is a file name)'
        )
    return text


def _checked_int(number: int, place: tuple[Any, ...]) -> int:
    try:
        repr(number)
    except ValueError as problem:
        raise ValueError(
            f"{_text_of(place)} is a whole number of too many digits: record it as text or bytes"
        ) from problem
    return number


def _name_of(key: Any, place: tuple[Any, ...]) -> str:
    if isinstance(key, str):
        return _checked_text(str.__str__(key), (*place, "key"))
    number = python_number(key)
    key = key if number is None else number
    if key is None or isinstance(key, int | float):
        return json.dumps(key)
    raise TypeError(f"{_text_of(place)} has the key {key!r:.200}: JSON has strings as keys, make it one")


def _mend_for(value: Any) -> str:
    if isinstance(value, set | frozenset):
        return "a set has no order, make it a list with sorted(...)"
    if isinstance(value, complex):
        return "make it the list [z.real, z.imag], or an array"
    if hasattr(value, "detach"):
        return "make it an array with .detach().cpu().numpy()"
    if hasattr(value, "isoformat"):
        return "make it text with .isoformat()"
    if hasattr(value, "__next__") or isinstance(value, range):
        return "make it a list with list(...)"
    return "make it of numbers, text, lists, mappings, bytes and arrays, or give the sweep an `encode` that does"


def _text_of(place: tuple[Any, ...]) -> str:
    """Return the place as one would write it in Python: `result.history[3].loss`."""
    shown = place if len(place) <= 20 else place[:20]
    text = "result"
    for step in shown:
        if isinstance(step, _Encoded):
            text = f"encode({text})"
        elif isinstance(step, str) and step.isidentifier():
            text += f".{step:.80}"
        else:
            text += f"[{step!r:.80}]"
    return text if len(shown) == len(place) else text + "..."


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _within_record(value: Any, keep: Keep) -> Any:
    """Return the JSON `value` such that it fits into a record, with side files for what does not.

    A side file names no others, for who looks for the files in use reads the log alone. So a part that names some
    stays, and its own parts are looked at.
    """
    if type(value) not in (str, dict, list):
        return value
    data = _json_bytes(value)
    if len(data) <= RECORD_BYTES or (type(value) is dict and FILE_TAG in value):
        return value
    if f'"{FILE_TAG}":'.encode() not in data:
        return keep(data, "json").tag()
    if type(value) is dict:
        return {name: _within_record(part, keep) for name, part in value.items()}
    return [_within_record(part, keep) for part in value]


def _untagged(value: Any, fetch: Fetch) -> Any:
    if type(value) is list:
        if SCALARS.issuperset(map(type, value)):
            return value
        return [_untagged(part, fetch) for part in value]
    if type(value) is dict:
        tag = next((name for name in value if name.startswith(RESERVED)), None)
        if tag is not None:
            return _object_of(tag, value, fetch)
        return {name: _untagged(part, fetch) for name, part in value.items()}
    return value


def _object_of(tag: str, value: dict[str, Any], fetch: Fetch) -> Any:
    fields = value[tag]
    if tag == FILE_TAG:
        side_file = side_file_of(fields)
        data = fetch(side_file)
        if side_file.kind == "array":
            return array_of_npy(data if isinstance(data, bytearray) else bytearray(data))
        return _untagged(json.loads(bytes(data)), fetch) if side_file.kind == "json" else bytes(data)
    try:
        if tag == BYTES_TAG:
            return base64.b64decode(fields, validate=True)
        if tag == ARRAY_TAG:
            data = bytearray(base64.b64decode(fields["base64"], validate=True))
            return array_of(fields["dtype"], fields["shape"], data)
    except (binascii.Error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a {tag} of a result is damaged: {error!r:.200}") from error
    raise ValueError(f"a result holds a {tag:.80}, which this version does not know: install a newer resumable-sweep")
