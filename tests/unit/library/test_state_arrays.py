"""Arrays in `.npz` files: what `numpy.savez` would have written, and what it would have lost."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest

from resumable_sweep._state_arrays import nested, read_arrays, write_arrays
from resumable_sweep._state_files import StateInvalid

ARRAYS = {
    "half": numpy.arange(6, dtype=numpy.float16).reshape(2, 3),
    "big-endian": numpy.arange(3, dtype=">i4"),
    "fortran": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
    "strided": numpy.arange(20)[::3],
    "scalar": numpy.float32(0.1),
    "none of it": numpy.zeros((0, 4)),
    "complex": numpy.array([1 + 2j]),
    "true": numpy.array([True, False]),
    "text": numpy.array(["ä", "longer"]),
    "time": numpy.array(["2026-11-22T10:00", "NaT"], dtype="M8[m]"),
    "record": numpy.array([(1, 2.5)], dtype=[("a", "i2"), ("b", "f8")]),
    "odd bits": numpy.array([numpy.nan, -0.0, numpy.inf]).view(numpy.uint64).view(numpy.float64),
    "file": numpy.ones(1),  # which numpy.savez takes for its first parameter
}


def test_numpy_reads_it_bit_by_bit(tmp_path: Path) -> None:
    write_arrays(tmp_path / "it.npz", ARRAYS)
    with numpy.load(tmp_path / "it.npz") as archive:
        assert archive.files == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert archive[name].dtype == array.dtype
            assert archive[name].shape == array.shape
            assert archive[name].tobytes() == array.tobytes()


def test_the_members_are_those_of_numpy(tmp_path: Path) -> None:
    arrays = {name: array for name, array in ARRAYS.items() if name != "file"}
    numpy.savez(tmp_path / "numpy.npz", **arrays)
    write_arrays(tmp_path / "ours.npz", arrays)
    with zipfile.ZipFile(tmp_path / "numpy.npz") as theirs, zipfile.ZipFile(tmp_path / "ours.npz") as ours:
        assert ours.namelist() == theirs.namelist()
        assert [ours.read(name) for name in ours.namelist()] == [theirs.read(name) for name in theirs.namelist()]
        assert {member.compress_type for member in ours.infolist()} == {zipfile.ZIP_STORED}


def test_what_numpy_wrote_is_read(tmp_path: Path) -> None:
    numpy.savez_compressed(tmp_path / "it.npz", **{"a/b": numpy.arange(3)})
    assert read_arrays(tmp_path / "it.npz")["a/b"].tolist() == [0, 1, 2]


def test_inner_mappings_come_back(tmp_path: Path) -> None:
    state = {"layers": {"0": {"w": [1.0, 2.0], "b": 3}, "1": {"w": [[4]]}}, "name": "x"}
    write_arrays(tmp_path / "it.npz", state)
    arrays = read_arrays(tmp_path / "it.npz")
    assert sorted(arrays) == ["layers/0/b", "layers/0/w", "layers/1/w", "name"]
    back = nested(arrays)
    assert back["layers"]["0"]["w"].tolist() == [1.0, 2.0]
    assert back["layers"]["1"]["w"].tolist() == [[4]]
    assert back["name"] == "x"


def test_an_array_of_several_pieces(tmp_path: Path) -> None:
    array = numpy.random.default_rng(1).integers(0, 256, 40_000_000 // 8, dtype=numpy.uint64)
    write_arrays(tmp_path / "it.npz", {"big": array})
    assert (read_arrays(tmp_path / "it.npz")["big"] == array).all()


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({}, "'the state' is an empty mapping"),
        ({"a": {"b": {}}}, "'a/b' is an empty mapping"),
        ({"a": {"b": None}}, "'a/b' is a NoneType of Python objects"),
        ({"a": [object()]}, "'a' is a list of Python objects"),
        ({"a": [[1], [1, 2]]}, "'a' cannot be made an array of"),
        ({"a": numpy.ma.masked_array([1, 2], [True, False])}, "'a' is a masked array"),
        ({1: 2}, "1 in 'the state' cannot name an array"),
        ({"a": {"": 2}}, "'' in 'a/' cannot name an array"),
        ({"a\0b": 2}, "cannot name an array"),
        ({"\ud800": 2}, "cannot name an array"),
        ({"a": {"b": 1}, "a/b": 2}, "two arrays of the state would both be called 'a/b'"),
        ({"a": 1, "a/b/c": 2}, "'a' is an array of the state, and 'a/b/c' lies below it"),
    ],
)
def test_what_would_be_lost_is_refused(tmp_path: Path, state: Any, match: str) -> None:
    with pytest.raises(StateInvalid, match=match):
        write_arrays(tmp_path / "it.npz", state)
    assert list(tmp_path.iterdir()) == []


def test_a_dtype_that_the_format_cannot_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As for ml_dtypes' bfloat16, which is no part of numpy: its description is that of two bytes.
    monkeypatch.setattr(numpy.lib.format, "dtype_to_descr", lambda dtype: "|V2")
    with pytest.raises(StateInvalid, match=r"'a' has dtype float64, which \.npz cannot name"):
        write_arrays(tmp_path / "it.npz", {"a": numpy.ones(2)})


def test_one_array_is_not_an_archive(tmp_path: Path) -> None:
    numpy.save(tmp_path / "it.npy", numpy.ones(2))
    with pytest.raises(ValueError, match=r"is not an \.npz file of several arrays"):
        read_arrays(tmp_path / "it.npy")
