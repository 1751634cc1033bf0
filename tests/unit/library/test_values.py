from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
import pathlib
import types
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from resumable_sweep import _values
from resumable_sweep._side_files import SUFFIXES, SideFile, SideFiles, side_files_in
from resumable_sweep._values import DEEPEST, decoded_value, encoded_value


@dataclasses.dataclass
class Score:
    loss: Any
    extra: Any


class Colour(str, enum.Enum):  # noqa: UP042 (whose str() is not its text)
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


Pair = namedtuple("Pair", "a b")

ARRAYS = np_st.arrays(np_st.scalar_dtypes(), np_st.array_shapes(min_dims=0, min_side=0, max_side=3), fill=st.nothing())
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
LEAVES = (
    PLAIN
    | st.binary(max_size=20)
    | ARRAYS
    | st.floats(width=32).map(numpy.float32)
    | st.floats().map(numpy.float64)
    | st.integers(-128, 127).map(numpy.int8)
    | st.just(Colour.RED)
)
RESULTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("a€$.", max_size=6) | st.integers(-3, 3), inner, max_size=4)
        | st.builds(Score, inner, inner)
    ),
    max_leaves=10,
)


class Kept:
    """A folder of side files in memory, so that a thousand examples need not wait for the disk."""

    def __init__(self) -> None:
        self.data: dict[SideFile, bytes] = {}

    def keep(self, data: Any, kind: str) -> SideFile:
        pieces = [data] if isinstance(data, bytes | bytearray | memoryview) else data
        whole = b"".join(map(bytes, pieces))
        sha256 = hashlib.sha256(whole).hexdigest()
        side_file = SideFile(f"r.jsonl.files/{sha256}{SUFFIXES[kind]}", sha256, len(whole), kind)
        self.data[side_file] = whole
        return side_file

    def fetch(self, side_file: SideFile) -> bytearray:
        return bytearray(self.data[side_file])


def line_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def no_file(*given: Any) -> Any:
    raise AssertionError(f"no side file is needed: {given!r:.100}")


def replayed(value: Any, **hooks: Any) -> Any:
    """Return what small results come back as."""
    encode = {"encode": hooks["encode"]} if "encode" in hooks else {}
    decode = {"decode": hooks["decode"]} if "decode" in hooks else {}
    return decoded_value(json.loads(line_of(encoded_value(value, keep=no_file, **encode))), fetch=no_file, **decode)


def assert_same(found: Any, expected: Any) -> None:
    """Check that they are equal to the bit and to the type, NaNs included."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, numpy.ndarray):
        assert (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())
    elif isinstance(expected, float):
        assert (found, math.copysign(1, found)) == (expected, math.copysign(1, expected)) or math.isnan(expected)
    else:
        assert found == expected


def as_replayed(value: Any) -> Any:
    """Return what the documentation says that `value` comes back as."""
    match value:
        case Score():
            return {"loss": as_replayed(value.loss), "extra": as_replayed(value.extra)}
        case dict():
            return {str(key): as_replayed(part) for key, part in value.items()}
        case list() | tuple():
            return [as_replayed(part) for part in value]
        case numpy.generic():
            return value.item()
        case Colour():
            return value.value
    return value


@given(
    value=RESULTS,
    inline=st.sampled_from([0, 8, _values.INLINE_BYTES]),
    most=st.sampled_from([0, 40, _values.RECORD_BYTES]),
)
def test_what_is_recorded_comes_back_and_is_encoded_the_same_again(value: Any, inline: int, most: int) -> None:
    kept = Kept()
    with patch.object(_values, "INLINE_BYTES", inline), patch.object(_values, "RECORD_BYTES", most):
        line = line_of(encoded_value(value, keep=kept.keep))
        found = decoded_value(json.loads(line), fetch=kept.fetch)
        assert_same(found, as_replayed(value))
        # Else a file in use would be taken for an orphan.
        assert set(side_files_in(json.loads(line))) == kept.data.keys()
        again = encoded_value(found, keep=kept.keep)
        assert line_of(again) == line
        assert_same(decoded_value(again, fetch=kept.fetch), found)


PLAIN_RESULTS = st.recursive(
    # Longer lists of one kind are looked at in another way.
    st.lists(st.integers(), min_size=9, max_size=12)
    | st.lists(st.text("\x00€", max_size=9), min_size=9, max_size=12)
    | PLAIN
    | st.text('\x00"\\ä€\U0001f600', max_size=50)
    | st.integers(-(10**60), 10**60),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text("a\x00\x1f€$", max_size=20), inner, max_size=6),
    max_leaves=20,
)


@given(value=PLAIN_RESULTS)
@example(value=["\x00" * 100])
def test_a_plain_result_is_its_own_json_and_its_size_is_not_underrated(value: Any) -> None:
    assert encoded_value(value, keep=no_file) is value
    assert _values.plain_bound(value) >= len(line_of(value).encode())
    assert_same(replayed(value), value)


def test_what_python_has_more_kinds_of_comes_back_as_json() -> None:
    value = {
        "tuple": (1, (2,)),
        "pair": Pair(1, 2),
        "ordered": OrderedDict(b=1, a=2),
        "proxy": types.MappingProxyType({"x": 1}),
        "score": Score(numpy.float32(0.5), Score(1, [numpy.bool_(True)])),
        "path": Path("a/b"),
        "windows": pathlib.PureWindowsPath("a\\b"),
        "colour": Colour.RED,
        "level": Level.HIGH,
        "subclass": numpy.float64(0.1),
        "keys": {1: "a", 1.5: "b", None: "c", numpy.int64(7): "d", Colour.RED: "e"},
        "views": [bytearray(b"x"), memoryview(b"abcd")[::2], memoryview(b"")],
    }
    assert_same(
        replayed(value),
        {
            "tuple": [1, [2]],
            "pair": [1, 2],
            "ordered": {"b": 1, "a": 2},
            "proxy": {"x": 1},
            "score": {"loss": 0.5, "extra": {"loss": 1, "extra": [True]}},
            "path": "a/b",
            "windows": "a\\b",
            "colour": "red",
            "level": 3,
            "subclass": 0.1,
            "keys": {"1": "a", "1.5": "b", "null": "c", "7": "d", "red": "e"},
            "views": [b"x", b"ac", b""],
        },
    )


def test_the_forms_in_the_log_never_change() -> None:
    value = {"b": b"\x00\xff", "a": numpy.array([[1, 2]], dtype="<i2"), "s": numpy.zeros(1, dtype=[("x", "<f4")])}
    assert line_of(encoded_value(value, keep=no_file)) == (
        '{"b": {"$sweep.bytes": "AP8="}, '
        '"a": {"$sweep.array": {"dtype": "<i2", "shape": [1, 2], "base64": "AQACAA=="}}, '
        '"s": {"$sweep.array": {"dtype": "[(\'x\', \'<f4\')]", "shape": [1], "base64": "AAAAAA=="}}}'
    )
    kept = Kept()
    sha256 = "3266304f31be278d06c3bd3eb9aa3e00c59bedec0a890de466568b0b90b0e01f"
    assert encoded_value(bytes(65_537), keep=kept.keep) == {
        "$sweep.file": {"path": f"r.jsonl.files/{sha256}.bin", "sha256": sha256, "size_bytes": 65_537, "kind": "bytes"}
    }


def test_large_parts_go_to_files_that_other_tools_read(tmp_path: Path) -> None:
    files = SideFiles(tmp_path / "r.jsonl")
    weights, text = numpy.arange(100_000, dtype="<f4").reshape(100, -1), "ä" * 600_000
    value = {"weights": weights, "blob": bytes(65_537), "small": bytes(65_536), "text": text, "loss": 0.5}
    encoded = encoded_value(value, keep=files.keep)
    assert len(line_of(encoded)) < 200_000
    assert encoded["loss"] == 0.5
    by_kind = {side_file.kind: tmp_path / side_file.path for side_file in side_files_in(encoded)}
    assert by_kind.keys() == {"array", "bytes", "json"}
    assert_same(numpy.load(by_kind["array"], allow_pickle=False), weights)
    assert by_kind["bytes"].read_bytes() == value["blob"]
    assert json.loads(by_kind["json"].read_text()) == text
    found = decoded_value(json.loads(line_of(encoded)), fetch=files.fetch)
    assert_same(found, value)
    found["weights"][0, 0] = 7  # the program's own, to be changed at will


@pytest.mark.parametrize("length", [(1 << 20) - 2, (1 << 20) - 1])
def test_a_result_goes_to_a_file_of_json_when_it_is_too_large_for_a_record(length: int) -> None:
    kept = Kept()
    encoded = encoded_value("x" * length, keep=kept.keep)  # two more for its quotation marks
    assert ("$sweep.file" in encoded) == (length + 2 > 1 << 20)
    assert decoded_value(encoded, fetch=kept.fetch) == "x" * length


def test_decoding_leaves_what_it_was_given() -> None:
    encoded = encoded_value([{"x": b"1"}], keep=no_file)
    before = line_of(encoded)
    decoded_value(encoded, fetch=no_file)
    assert line_of(encoded) == before


def test_a_log_of_before_may_be_nested_deeper() -> None:
    text = "[" * 600 + "]" * 600
    assert line_of(decoded_value(json.loads(text), fetch=no_file)) == text


def nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize("inner", [1, b"x", (1, 2)])
def test_nesting_is_refused_at_the_same_depth_whatever_is_nested(inner: Any) -> None:
    depth = DEEPEST - isinstance(inner, tuple)
    assert_same(replayed(nested(depth, inner)), nested(depth, as_replayed(inner)))
    with pytest.raises(ValueError, match=r"^result\[0\]\[0\].*\.\.\. is nested more than 200 deep"):
        encoded_value(nested(depth + 1, inner), keep=no_file)


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Opaque:
    pass


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"history": [1, 2, 3, {"loss": {1}}]}, TypeError, r"result\.history\[3\]\.loss is a set, .*sorted\("),
        (Score(1, Opaque()), TypeError, r"result\.extra is a .*Opaque, which JSON has no form for: .*`encode`"),
        (1j, TypeError, r"result is a complex, .*\[z.real, z.imag\]"),
        (numpy.longdouble(1), TypeError, "result is a numpy.longdouble"),
        (
            [numpy.array([None])],
            TypeError,
            r"result\[0\] is an array, but the dtype object cannot be kept: .*\.astype\(",
        ),
        (numpy.ma.masked_array([1], [True]), TypeError, "result is a numpy.ma.*MaskedArray"),
        (iter([1]), TypeError, "result is a list_iterator, .*list\\("),
        (Score, TypeError, "result is a type"),
        ({"a": {(1, 2): 3}}, TypeError, r"result\.a has the key \(1, 2\): JSON has strings as keys"),
        ({"a b": {"$sweep.x": 3}}, ValueError, r"result\['a b'\] has the key '\$sweep.x': .* reserved"),
        ({"$sweep.bytes": "AA=="}, ValueError, r"result has the key '\$sweep.bytes': .* reserved"),
        ({1: "a", "1": "b"}, ValueError, "result has two keys that JSON writes as '1': rename one"),
        ({"x": ["\ud800"]}, ValueError, r"result\.x\[0\] is text with lone surrogates"),
        ({"x": {"\ud800": 1}}, ValueError, r"result\.x.*text with lone surrogates"),
        ({"x": [Path("\udcff")]}, ValueError, r"result\.x\[0\] is text with lone surrogates"),
        ([*"abcdefghi", "\udfff"], ValueError, r"result\[9\] is text with lone surrogates"),
        ([*range(9), 10**5000], ValueError, r"result\[9\] is a whole number of too many digits"),
        ({"n": [10**5000]}, ValueError, r"result\.n\[0\] is a whole number of too many digits"),
        (itself(), ValueError, r"nested more than 200 deep, or holds itself"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_place(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        encoded_value(value, keep=no_file)


def test_encode_and_decode_are_the_programs() -> None:
    def encode(value: Any) -> Any:
        if isinstance(value, complex):
            return (value.real, numpy.float32(value.imag))
        if isinstance(value, set):
            return {"set": sorted(value)}
        if isinstance(value, Opaque):
            return {"parts": [1j, {2, 1}]}
        raise TypeError("unknown")

    value = {"a": Opaque(), "z": [2j]}
    plain = {"a": {"parts": [[0.0, 1.0], {"set": [1, 2]}]}, "z": [[0.0, 2.0]]}
    assert_same(replayed(value, encode=encode), plain)
    assert replayed(value, encode=encode, decode=lambda found: ("mine", found)) == ("mine", plain)
    assert replayed([1, b"x"], encode=no_file) == [1, b"x"]
    with pytest.raises(TypeError, match="unknown") as caught:
        encoded_value({"b": [object()]}, keep=no_file, encode=encode)
    assert caught.value.__notes__ == ["encode was called with result.b[0], a object"]


@pytest.mark.parametrize(
    ("encode", "error", "message"),
    [
        (lambda value: None, TypeError, "result.x is a .*Opaque, for which encode returned None"),
        (lambda value: value, TypeError, "result.x is a .*Opaque, for which encode returned the object itself"),
        (lambda value: [Opaque()], ValueError, r"nested more than 200 deep"),
        (lambda value: Opaque(), ValueError, r"^encode\(.*encode\(result.x\).* is nested more than 200 deep"),
        (lambda value: {"$sweep.file": 1}, ValueError, r"encode\(result.x\) has the key '\$sweep.file': .* reserved"),
    ],
)
def test_an_encode_that_does_not_do_is_told_so(encode: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        encoded_value({"x": Opaque()}, keep=no_file, encode=encode)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"$sweep.bytes": "!"}, r"a \$sweep.bytes of a result is damaged"),
        ({"$sweep.bytes": 3}, r"a \$sweep.bytes of a result is damaged"),
        (
            {"$sweep.array": {"dtype": "<f8", "shape": [1]}},
            r"\$sweep.array of a result is damaged: .*'base64'",
        ),
        ({"$sweep.array": {"dtype": "<f8", "shape": [1], "base64": "AA=="}}, "1 bytes do not make the shape"),
        ({"$sweep.array": None}, r"a \$sweep.array of a result is damaged"),
        ({"$sweep.file": {"path": "/etc/passwd"}}, r"a \$sweep.file of a result must have"),
        ({"$sweep.table": {}}, r"a result holds a \$sweep.table, which this version does not know: install a newer"),
    ],
)
def test_what_stands_for_no_object_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoded_value([{"x": value}], fetch=no_file)
