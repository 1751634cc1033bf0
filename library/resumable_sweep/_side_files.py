"""Files beside the log for results too large for a line of it, each named by the digest of what it holds."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from resumable_sweep._disk import make_folder, sync_folder, temporary_path, write_at

FILE_TAG = "$sweep.file"
SUFFIXES = {"array": ".npy", "bytes": ".bin", "json": ".json"}
_FOLDER_SUFFIX = ".files"
_CHUNK_BYTES = 1 << 20
_SHA256_DIGITS = 64

Buffer = bytes | bytearray | memoryview


class SideFileDamaged(Exception):
    """A side file is missing, or does not hold what it held when its result was recorded."""


@dataclass(frozen=True, slots=True)
class SideFile:
    """What the log says of a side file.

    Its `path` is relative to the folder of the log that it was written beside, with `/`; `kind` is one of `SUFFIXES`.
    """

    path: str
    sha256: str
    size_bytes: int
    kind: str

    @property
    def name(self) -> str:
        """The name of the file itself: digest and suffix."""
        return PurePosixPath(self.path).name

    def tag(self) -> dict[str, Any]:
        """Return the JSON that stands for the file in a result."""
        return {FILE_TAG: asdict(self)}


def side_file_of(fields: Any) -> SideFile:
    """Return the side file that a tag names by `fields`.

    Raises
    ------
    ValueError
        Where the fields are not those of a side file. A path that leads anywhere else than into a log's folder of side
        files is refused, too: a log may come from elsewhere.
    """
    try:
        side_file = SideFile(**fields)
    except TypeError as error:
        raise ValueError(
            f"a {FILE_TAG} of a result must have path, sha256, size_bytes and kind: {fields!r:.200}"
        ) from error
    folder, _, name = str(side_file.path).partition("/")
    suffix = SUFFIXES.get(side_file.kind) if isinstance(side_file.kind, str) else None
    if suffix is None:
        problem = (
            f"kind is {side_file.kind!r:.80}, it must be one of {', '.join(SUFFIXES)}: install a newer resumable-sweep"
        )
    elif type(side_file.size_bytes) is not int or side_file.size_bytes < 0:
        problem = f"size_bytes is {side_file.size_bytes!r:.80}, it must be a whole number"
    elif not isinstance(side_file.sha256, str) or not _is_digest(side_file.sha256):
        problem = f"sha256 is {side_file.sha256!r:.80}, it must be {_SHA256_DIGITS} hexadecimal digits"
    elif not folder.endswith(_FOLDER_SUFFIX) or name != side_file.sha256 + suffix:
        problem = f"path is {side_file.path!r:.200}, it must be <log>{_FOLDER_SUFFIX}/{side_file.sha256}{suffix}"
    else:
        return side_file
    raise ValueError(f"a {FILE_TAG} of a result is damaged: {problem}")


def side_files_in(value: Any) -> Iterator[SideFile]:
    """Return the side files that are named in `value`, a result (or a whole entry) as it stands in the log.

    Raises
    ------
    ValueError
        Where a tag is damaged.
    """
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if FILE_TAG in part:
                yield side_file_of(part[FILE_TAG])
            else:
                waiting.extend(reversed(part.values()))
        elif isinstance(part, list):
            waiting.extend(reversed(part))


class SideFiles:
    """The side files of the log at `log_path`, in the folder `<log_path>.files`.

    Any of its threads may use it. Which files the log names is not known here.
    """

    def __init__(self, log_path: Path) -> None:
        self.folder = log_path.with_name(log_path.name + _FOLDER_SUFFIX)

    def keep(self, data: Buffer | Sequence[Buffer], kind: str) -> SideFile:
        """Write `data`, or its pieces one after the other; when this returns the file and its name are on disk.

        The pieces are contiguous, and are not copied. A file that is there already is left as it is if it holds just
        that, and replaced else.

        Raises
        ------
        OSError
            Where it could not be written; what was there before is there still.
        """
        pieces = [memoryview(piece).cast("B") for piece in ([data] if isinstance(data, Buffer) else data)]
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        name = digest.hexdigest() + SUFFIXES[kind]
        size_bytes = sum(map(len, pieces))
        side_file = SideFile(f"{self.folder.name}/{name}", digest.hexdigest(), size_bytes, kind)
        path = self.folder / name
        make_folder(self.folder)
        try:
            if _damage(path, side_file) is None:
                # It may have been copied here, or its writer may have died before the name was durable.
                _sync(path)
            else:
                _replace(path, pieces)
            sync_folder(self.folder)
        except OSError as error:
            text = f"{error.strerror}: the side file of a result could not be written, the result is not recorded"
            raise OSError(error.errno, text, str(path)) from error
        return side_file

    def path_of(self, side_file: SideFile) -> Path:
        """Return where `side_file` is to be found: in this log's folder, else in that of the log it was written for.

        The two differ where a log was renamed or its results were copied into another one; as the name is the digest,
        either file is the right one.
        """
        named = self.folder.with_name(side_file.path.partition("/")[0]) / side_file.name
        own = self.folder / side_file.name
        return named if named.exists() and not own.exists() else own

    def fetch(self, side_file: SideFile) -> bytes | bytearray:
        """Return what `side_file` holds, verified, and held in memory once: an array's as a bytearray to build it on.

        Raises
        ------
        SideFileDamaged
            Where it is missing or holds something else.
        OSError
            Where it cannot be read.
        """
        path = self.path_of(side_file)
        if (damage := _wrong_size(path, side_file)) is not None:
            raise SideFileDamaged(damage)
        with path.open("rb", buffering=0) as file:
            data = _filled(side_file.size_bytes, file) if side_file.kind == "array" else file.read()
        if hashlib.sha256(data).hexdigest() != side_file.sha256:
            raise SideFileDamaged(_other_content(path))
        return data

    def verify(self, side_file: SideFile) -> str | None:
        """Return what is wrong with `side_file`, None where nothing is; it is read in pieces.

        Raises
        ------
        OSError
            Where it cannot be read.
        """
        return _damage(self.path_of(side_file), side_file)

    def orphans(self, named: set[str]) -> list[Path]:
        """Return the files in the folder that nothing needs, of those whose paths are not in `named`, by name.

        They were left by a crash between the writing of a file and that of the record, or by one in the middle of it.
        Only the log's writer may take them for such, before it records anything.
        """
        names = {PurePosixPath(path).name for path in named}
        try:
            return sorted(path for path in self.folder.iterdir() if path.name not in names)
        except FileNotFoundError:
            return []


def _filled(size_bytes: int, file: io.FileIO) -> bytearray:
    data = bytearray(size_bytes)
    end = 0
    with memoryview(data) as view:
        while end < size_bytes and (count := file.readinto(view[end:])):
            end += count
    return data


def _is_digest(text: str) -> bool:
    return len(text) == _SHA256_DIGITS and set(text) <= set("0123456789abcdef")


def _replace(path: Path, pieces: list[memoryview]) -> None:
    # Threads may keep the same content at the same time: each writes a file of its own.
    temporary = temporary_path(path)
    temporary = temporary.with_name(f"{temporary.name}.{threading.get_native_id()}")
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            offset = 0
            for piece in pieces:
                write_at(file, piece, offset)
                offset += len(piece)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(temporary, path)  # noqa: PTH105 (files are changed through `os` alone, see _disk)
    except BaseException:
        # Also after KeyboardInterrupt: it may be hundreds of megabytes.
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _damage(path: Path, side_file: SideFile) -> str | None:
    if (damage := _wrong_size(path, side_file)) is not None:
        return damage
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return None if digest.hexdigest() == side_file.sha256 else _other_content(path)


def _wrong_size(path: Path, side_file: SideFile) -> str | None:
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return f"{path}, a file of a recorded result, is missing"
    if not path.is_file():
        return f"{path}, a file of a recorded result, is no file"
    if size != side_file.size_bytes:
        return f"{path}, a file of a recorded result, has {size} bytes, it had {side_file.size_bytes}"
    return None


def _other_content(path: Path) -> str:
    return f"{path}, a file of a recorded result, holds something else than what was recorded"
