"""numpy arrays as bytes and back, bit by bit; numpy is not imported before there is an array."""

from __future__ import annotations

import ast
import importlib
import struct
import sys
from collections.abc import Sequence
from math import prod
from typing import Any

_MAGIC = b"\x93NUMPY"
_FORMATS = {1: ("<H", "latin-1"), 2: ("<I", "latin-1"), 3: ("<I", "utf-8")}
"""By the version of the .npy format: how the length of the header is written, and the header."""
_LENGTH_AT = 8
_PREAMBLE_BYTES = 64
"""What the data begins at a multiple of, so that an array built over a file's bytes is aligned."""


def is_array(value: Any) -> bool:
    """Return whether `value` is a numpy array whose content is all in its elements: a masked one has a mask besides."""
    # Where numpy (or numpy.ma) is not imported, no object can be of its types.
    numpy, masked = sys.modules.get("numpy"), sys.modules.get("numpy.ma")
    return (
        numpy is not None
        and isinstance(value, numpy.ndarray)
        and not (masked is not None and isinstance(value, masked.MaskedArray))
    )


def python_number(value: Any) -> bool | int | float | None:
    """Return the Python number that a scalar of numpy is exactly, None where there is none or it is no such scalar."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.bool_ | numpy.integer | numpy.floating):
        return None
    # A time span is an integer to numpy, whose unit would be lost; a long double's item() is itself.
    number = None if isinstance(value, numpy.timedelta64) else value.item()
    return number if type(number) in (bool, int, float) else None


def dtype_text(dtype: Any) -> str:
    """Return the text from which `dtype` can be made again: `<f8`, or the list of fields as a Python literal.

    Raises
    ------
    TypeError
        Where there is none: for objects, for dtypes of packages other than numpy, and for fields that lie over each
        other or out of order.
    """
    try:
        text: str
        if dtype.names is None:
            text = dtype.str
        else:
            text = repr(importlib.import_module("numpy.lib.format").dtype_to_descr(dtype))
        same = not dtype.hasobject and _dtype_of(text) == dtype
    except (TypeError, ValueError, SyntaxError):
        same = False
    if not same:
        raise TypeError(f"the dtype {dtype} cannot be kept")
    return text


def array_data(array: Any) -> memoryview:
    """Return the bytes of `array` in C order, without a copy where it lies so."""
    if not array.nbytes:
        return memoryview(b"")
    numpy = importlib.import_module("numpy")
    # Bytes, not the array itself: not every dtype has a buffer of its own.
    return memoryview(numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8))


def array_of(dtype: str, shape: Sequence[int], data: bytearray | memoryview) -> Any:
    """Return the array of `dtype_text`, shape and bytes; it is built over `data`.

    Raises
    ------
    ValueError
        Where they do not fit.
    ImportError
        Where numpy is not installed.
    """
    try:
        numpy = importlib.import_module("numpy")
    except ImportError as error:
        raise ImportError("a result holds an array: install numpy to read it") from error
    try:
        found = _dtype_of(dtype)
        if len(data) != prod(shape) * found.itemsize:
            raise ValueError(f"{len(data)} bytes do not make the shape {tuple(shape)}")
        if not data:
            return numpy.empty(shape, found)
        return numpy.frombuffer(data, found).reshape(shape)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"an array of dtype {dtype!r:.200} is damaged: {error}") from error


def npy_pieces(array: Any) -> list[bytes | memoryview]:
    """Return the `.npy` file of `array`, as header and data.

    The header is written here, not by numpy, whose versions pad it differently: equal arrays are to be equal files. The
    format is that of numpy.lib.format, in the first version that has room for the names of the fields.
    """
    dtype = dtype_text(array.dtype)
    literal = dtype if array.dtype.names else repr(dtype)
    text = f"{{'descr': {literal}, 'fortran_order': False, 'shape': {tuple(map(int, array.shape))!r}, }}"
    try:
        header = text.encode("latin-1")
        version = 1 if len(header) + _PREAMBLE_BYTES <= 0xFFFF else 2
    except UnicodeEncodeError:
        header = text.encode()
        version = 3
    length_format, _ = _FORMATS[version]
    before = _LENGTH_AT + struct.calcsize(length_format)
    header += b" " * (-(before + len(header) + 1) % _PREAMBLE_BYTES) + b"\n"
    return [_MAGIC + bytes([version, 0]) + struct.pack(length_format, len(header)) + header, array_data(array)]


def array_of_npy(data: bytearray) -> Any:
    """Return the array of a `.npy` file that `npy_pieces` made; it is built over `data`.

    Raises
    ------
    ValueError
        Where it is no such file.
    ImportError
        Where numpy is not installed.
    """
    if data[:6] != _MAGIC or data[6] not in _FORMATS:
        raise ValueError("the file of an array is no .npy file")
    length_format, encoding = _FORMATS[data[6]]
    start = _LENGTH_AT + struct.calcsize(length_format)
    (length,) = struct.unpack_from(length_format, data, _LENGTH_AT)
    try:
        header = ast.literal_eval(data[start : start + length].decode(encoding).strip())
        descr, shape = header["descr"], header["shape"]
    except (KeyError, SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"the file of an array has a damaged header: {error}") from error
    dtype = descr if isinstance(descr, str) else repr(descr)
    return array_of(dtype, shape, memoryview(data)[start + length :])


def _dtype_of(text: Any) -> Any:
    if not isinstance(text, str):
        raise TypeError("it must be text")
    descr = ast.literal_eval(text) if text.startswith("[") else text
    return importlib.import_module("numpy.lib.format").descr_to_dtype(descr)
