"""Arrays in a file as `numpy.savez` writes them: `numpy.load` reads it, and so does whatever reads `.npz`."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resumable_sweep._disk import write_at
from resumable_sweep._state_files import StateInvalid

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The least that a zip archive can say: a time of day in it would make equal states unequal files."""


def write_arrays(path: Path, state: Mapping[str, Any]) -> None:
    """Write a mapping of arrays to the new file `path`; mappings inside become names with `/`.

    Parameters
    ----------
    state
        Values are what `numpy.asarray` takes, of any shape and of any dtype that `.npy` can hold without pickling.
        The members of the archive are `<name>.npy`, as `numpy.savez` names them.

    Raises
    ------
    StateInvalid
        Where a name or a value cannot be kept; it says which.
    OSError
    """
    arrays = _flat(state)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with zipfile.ZipFile(_Sink(file), "w") as archive:
            for name, array in arrays.items():
                _write_member(archive, name, array)
        os.fsync(file)
    finally:
        os.close(file)


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of an `.npz` file by name.

    Raises
    ------
    ValueError, zipfile.BadZipFile, OSError
        Where it is none.
    """
    import numpy

    archive = numpy.load(path, allow_pickle=False)
    if not isinstance(archive, numpy.lib.npyio.NpzFile):
        raise ValueError(f"{path} is not an .npz file of several arrays")
    with archive:
        return {name: archive[name] for name in archive.files}


def nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays whose names hold `/` as mappings of mappings."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *folders, last = name.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = array
    return tree


class _Sink(io.RawIOBase):
    """A file object that writes through `os` alone, so that a crash can be tried between any two of its calls."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._place = 0
        self._end = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        write_at(self._file, view, self._place)
        self._place += len(view)
        self._end = max(self._end, self._place)
        return len(view)

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        return self._place


def _write_member(archive: zipfile.ZipFile, name: str, array: Any) -> None:
    import numpy

    member = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
    member.external_attr = 0o600 << 16
    with archive.open(member, "w", force_zip64=True) as target:
        numpy.lib.format.write_array(target, array, allow_pickle=False)


def _flat(state: Mapping[str, Any]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for name, value in _leaves(state, ""):
        if name in arrays:
            raise StateInvalid(f"two arrays of the state would both be called {name!r}: rename one of them")
        arrays[name] = _array(value, name)
    # Else `nested` could not tell an array from the mapping that it lies in.
    for name in arrays:
        above = name
        while above := above.rpartition("/")[0]:
            if above in arrays:
                raise StateInvalid(
                    f"{above!r} is an array of the state, and {name!r} lies below it: rename one of them"
                )
    return arrays


def _leaves(state: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    if not state:
        raise StateInvalid(
            f"{prefix.rstrip('/') or 'the state'!r} is an empty mapping, which .npz cannot hold: leave it out"
        )
    for key, value in state.items():
        if not isinstance(key, str) or not key or "\0" in key or not key.isprintable():
            raise StateInvalid(
                f"{key!r} in {prefix or 'the state'!r} cannot name an array: give it a string as its name"
            )
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def _array(value: Any, name: str) -> Any:
    import numpy

    if isinstance(value, numpy.ma.MaskedArray):
        raise StateInvalid(f"{name!r} is a masked array, and .npz would lose the mask: save .data and .mask as two")
    try:
        array = numpy.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise StateInvalid(f"{name!r} cannot be made an array of: {error}") from error
    if array.dtype.hasobject:
        raise StateInvalid(
            f"{name!r} is a {type(value).__name__} of Python objects, which no array can hold without pickling: "
            "make numbers or strings of it, or leave it out"
        )
    # The likes of bfloat16 are written as bytes without a meaning.
    if numpy.lib.format.descr_to_dtype(numpy.lib.format.dtype_to_descr(array.dtype)) != array.dtype:
        raise StateInvalid(f"{name!r} has dtype {array.dtype}, which .npz cannot name: convert it, to float32 say")
    return array
