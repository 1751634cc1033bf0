from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from resumable_sweep._arrays import array_data, array_of, array_of_npy, dtype_text, is_array, npy_pieces, python_number

DTYPES = np_st.scalar_dtypes() | np_st.array_dtypes(np_st.scalar_dtypes().filter(lambda dtype: dtype.itemsize > 0))
ARRAYS = np_st.arrays(DTYPES, np_st.array_shapes(min_dims=0, min_side=0, max_side=4), fill=st.nothing())


def npy_of(array: Any) -> bytes:
    return b"".join(map(bytes, npy_pieces(array)))


def assert_same(found: Any, array: Any) -> None:
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()  # not equality: NaNs have bits too
    assert found.flags.writeable


@given(array=ARRAYS)
def test_an_array_is_its_dtype_shape_and_bytes(array: Any) -> None:
    assert_same(array_of(dtype_text(array.dtype), array.shape, bytearray(array_data(array))), array)


@given(array=ARRAYS)
def test_numpy_reads_the_file_of_an_array_and_so_does_the_library(array: Any) -> None:
    npy = npy_of(array)
    assert_same(numpy.load(io.BytesIO(npy), allow_pickle=False), array)
    assert_same(array_of_npy(bytearray(npy)), array)
    assert len(npy) == len(npy_pieces(array)[0]) + array.nbytes


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(12).reshape(3, 4).T,
        numpy.asfortranarray(numpy.arange(12).reshape(3, 4)),
        numpy.arange(20)[::-3],
        numpy.broadcast_to(numpy.float32(3), (2, 5)),
        numpy.arange(4).view(numpy.recarray),
    ],
)
def test_how_it_lies_in_memory_does_not_matter(array: Any) -> None:
    plain = numpy.array(array, order="C")
    assert npy_of(array) == npy_of(plain)
    assert_same(array_of_npy(bytearray(npy_of(array))), plain)


def test_what_lies_in_order_is_not_copied() -> None:
    array = numpy.arange(10)
    data = array_data(array)
    array[0] = 99
    assert bytes(data) == array.tobytes()


# Side files are named by their digest: of whatever version the library and numpy are, it must stay.
def test_the_file_of_an_array_never_changes() -> None:
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }"
    assert npy_of(numpy.array([[0.5, 1]])) == header.ljust(127) + b"\n" + numpy.array([0.5, 1]).tobytes()


@pytest.mark.parametrize(
    ("names", "version"), [(["ä"], 1), (["日"], 3), ([f"{number:0100}" for number in range(700)], 2)]
)
def test_names_of_fields_choose_the_version_of_the_format(names: list[str], version: int) -> None:
    array = numpy.zeros(2, dtype=[(name, "<i2") for name in names])
    npy = npy_of(array)
    assert npy[6] == version
    assert_same(numpy.load(io.BytesIO(npy), max_header_size=len(npy)), array)
    assert_same(array_of_npy(bytearray(npy)), array)


@pytest.mark.parametrize(
    "dtype",
    [
        numpy.dtype(object),
        numpy.dtype([("x", object)]),
        numpy.dtypes.StringDType(),
        numpy.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]}),
    ],
    ids=str,
)
def test_a_dtype_that_could_not_be_made_again_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="cannot be kept"):
        dtype_text(dtype)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("<f8", [3]),
        ("<f8", [-1, -2]),
        ("<f8", None),
        ("<f8", ["x"]),
        ("nonsense", [2]),
        ("[oops", [2]),
        ("|O", [2]),
        (8, [2]),
    ],
)
def test_what_does_not_fit_is_refused(dtype: Any, shape: Any) -> None:
    with pytest.raises(ValueError, match="is damaged"):
        array_of(dtype, shape, bytearray(16))


@pytest.mark.parametrize(
    "damage",
    [
        lambda npy: b"",
        lambda npy: b"x" + npy[1:],
        lambda npy: npy[:6] + b"\x09" + npy[7:],
        lambda npy: npy.replace(b"shape", b"shake"),
    ],
)
def test_what_is_no_file_of_an_array_is_refused(damage: Any) -> None:
    with pytest.raises(ValueError, match="the file of an array"):
        array_of_npy(bytearray(damage(npy_of(numpy.arange(3)))))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (numpy.float32(0.1), 0.10000000149011612),
        (numpy.float16(2), 2.0),
        (numpy.int8(-3), -3),
        (numpy.uint64(2**64 - 1), 2**64 - 1),
        (numpy.bool_(False), False),
    ],
)
def test_a_scalar_is_the_python_number_it_is_exactly(value: Any, number: Any) -> None:
    found = python_number(value)
    assert (found, type(found)) == (number, type(number))


@pytest.mark.parametrize(
    "value",
    [
        numpy.longdouble(1),
        numpy.complex64(1),
        numpy.timedelta64(3, "ns"),
        numpy.datetime64(3, "ns"),
        numpy.void(b"x"),
        1,
    ],
    ids=repr,
)
def test_what_is_no_python_number_is_none(value: Any) -> None:
    assert python_number(value) is None


def test_a_masked_array_is_more_than_its_elements() -> None:
    assert is_array(numpy.zeros(2))
    assert not is_array(numpy.ma.masked_array([1, 2], [True, False]))
    assert not is_array([1])
    assert not is_array(numpy.float64(1))


def test_numpy_is_not_imported_before_there_is_an_array() -> None:
    program = (
        "import sys\n"
        "from resumable_sweep._arrays import is_array, python_number, array_of\n"
        "print(is_array([1]), python_number(1), 'numpy' in sys.modules)\n"
        "sys.modules['numpy'] = None\n"
        "try: array_of('<f8', [1], bytearray(8))\n"
        "except ImportError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert out.splitlines() == ["False None False", "a result holds an array: install numpy to read it"]
