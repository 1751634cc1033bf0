"""The state of one long run: saved so that every moment leaves a whole one, and loaded again after a cut."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resumable_sweep._disk import make_folder, temporary_path, write_at
from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._opening import CheckpointFellBack
from resumable_sweep._sources import fetched_beside, is_local, local_path
from resumable_sweep._state_arrays import nested, read_arrays, write_arrays
from resumable_sweep._state_files import (
    StateInvalid,
    copy_tree,
    finish_interrupted,
    manifest_of,
    publish,
    remove_leftovers,
    remove_tree,
    set_aside,
    sync_tree,
)
from resumable_sweep._state_search import CheckpointDamaged, find, fingerprint_of, look, newest_in
from resumable_sweep.contract import environment as env
from resumable_sweep.contract.manifest import SUFFIX, Manifest, manifest_path

State = bytes | bytearray | memoryview | Mapping[str, Any] | os.PathLike[str] | Callable[[Path], object]
_RECHECK_S = 1.0

_verified: dict[Path, tuple[tuple[int, int, int] | None, ...]] = {}
"""The pairs that this process has written or verified, so that a save need not read the former one again."""


@dataclass(frozen=True)
class FellBack:
    """`source` could not be used because of `reason`, `used` is; `kept_as` is where the damaged one lies, if kept."""

    source: Path
    reason: str
    kept_as: Path | None
    used: Path

    def __str__(self) -> str:
        kept = f"; kept as {self.kept_as.name}" if self.kept_as else ""
        return f"{self.source} cannot be used: {self.reason}{kept}; going on from the older {self.used.name}"


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that verifies: `path` is the file or directory, `extra` what was saved with it.

    `manifest` None = it has none, so nobody could verify it. `fell_back` None = it is the newest. `path` may be a
    backup, which later saves remove: what is opened lazily has to be read before them. What came from a URL lies in a
    temporary folder that goes with this object.
    """

    path: Path
    manifest: Manifest | None
    extra: Any
    fell_back: FellBack | None = None

    def read_bytes(self) -> bytes:
        """Return the content of the file."""
        return self.path.read_bytes()

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of an `.npz` file by name, `folder/name` for those that were saved in inner mappings.

        Raises
        ------
        ValueError, OSError
            Where it is no such file.
        """
        return read_arrays(self.path)

    def nested_arrays(self) -> dict[str, Any]:
        """Return the arrays in mappings of mappings, taken apart at each `/` of their names."""
        return nested(self.arrays())


def save_state(
    path: str | os.PathLike[str], state: State, extra: Mapping[str, Any] | None = None, *, keep: int = 2
) -> Path:
    """Make `state` the checkpoint at `path`; when this returns it is on disk. Return its absolute path.

    One process at a time saves under one name.

    Parameters
    ----------
    path:
        Taken relative to `SWEEP_SNAPSHOT_DIR` where that is set.
    state:
        Bytes; a mapping of arrays, written as `.npz`; the path of a file or directory, which is copied; or a function
        that writes a file or directory to the path it is given.
    extra:
        What to say besides: JSON, numpy's scalars too. It comes back as `Loaded.extra`.
    keep:
        How many checkpoints to keep in all: this one, and the ones before as `<path>.backup-N`, the newest having the
        highest N.

    Raises
    ------
    StateInvalid, SettingsInvalid
        Where it cannot be saved like that; nothing is changed.
    CheckpointTooNew
        Where a release of another schema wrote the one that is there.
    OSError
        Where it could not be written: the checkpoint before is still the newest.

    Warns
    -----
    CheckpointFellBack
        Where the one that is there is damaged. It is kept as `<path>.corrupt-N`.
    """
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise StateInvalid(f"keep={keep!r} must be a whole number of 1 or more: how many checkpoints to keep in all")
    target = _place_of(path)
    said = _plain(extra)
    make_folder(target.parent)
    remove_leftovers(target)
    _make_room(target)
    folder = temporary_path(target)
    try:
        make_folder(folder)
        # Under its own name: some writers append a suffix that they do not find.
        made = folder / target.name
        _make(made, state, target=target)
        sync_tree(made)
        publish(target, made, manifest_of(made, said), keep=keep)
    finally:
        with suppress(OSError):  # what is left of it goes with the next save
            remove_tree(folder)
    _verified[target] = fingerprint_of(target)
    return target


def load_state(
    source: str | os.PathLike[str] | None = None, *, pause: Callable[[float], None] = time.sleep
) -> Loaded | None:
    """Return the newest whole checkpoint of `source`, None where there never was one: a fresh start.

    A damaged one is kept as `<source>.corrupt-N`, and the newest of the older ones that is whole is used.

    Parameters
    ----------
    source:
        A path, taken relative to `SWEEP_SNAPSHOT_DIR` where that is set, or a URL: `file://`, `http(s)://`, and where
        fsspec is installed whatever that knows. Left out, what `SWEEP_RESUME_FROM` names, if it names anything.
    pause:
        Waits for so many seconds between tries to reach a server.

    Raises
    ------
    CheckpointDamaged
        Where it is damaged and there is no older one that is whole. Nothing is changed.
    CheckpointTooNew
        Where a release of another schema wrote it.
    SourceInvalid, SourceUnreachable, OSError
        Where it cannot be read, so that nobody can tell whether this is a fresh start.

    Warns
    -----
    CheckpointFellBack
        Where an older one is used; `Loaded.fell_back` says the same.
    """
    if source is None:
        source = os.environ.get(env.RESUME_FROM) or None
        if source is None:
            return None
    text = os.fspath(source)
    if not is_local(text):
        return _loaded_from_afar(text, pause=pause)
    path = local_path(text) if "://" in text else _absolute(text)
    found = find(path)
    if found is None:
        return None
    fell_back = None
    if found.asked is None:
        _verified[path] = fingerprint_of(path)
    else:
        kept_as = _set_aside_if_there(path)
        fell_back = FellBack(path, found.asked.fault or "", kept_as, found.whole.path)
        warnings.warn(CheckpointFellBack(str(fell_back)), stacklevel=2)
    return _loaded(found.whole.path, found.whole.manifest, fell_back)


def latest(folder_or_pattern: str | os.PathLike[str]) -> Path | None:
    """Return which of several checkpoints is the newest that `load_state` can use, None where there is none.

    For runs that give every checkpoint a name of its own. Newest is the one with the highest numbers in its name.

    Parameters
    ----------
    folder_or_pattern:
        A folder, of which those with a manifest count, or a pattern like `run/step-*.pt`; taken relative to
        `SWEEP_SNAPSHOT_DIR` where that is set.

    Raises
    ------
    CheckpointDamaged
        Where there are some, and none is whole.
    CheckpointTooNew, OSError

    Warns
    -----
    CheckpointFellBack
        Where a newer one is passed over because it is damaged.
    """
    damaged: list[CheckpointDamaged] = []
    for path in newest_in(_absolute(folder_or_pattern)):
        try:
            found = find(path)
        except CheckpointDamaged as error:
            damaged.append(error)
            continue
        if found is None:
            continue
        for passed_over in damaged:
            warnings.warn(CheckpointFellBack(f"{passed_over}. Going on from the older {path.name}"), stacklevel=2)
        return path
    if damaged:
        raise damaged[0]
    return None


def _make(made: Path, state: State, *, target: Path) -> None:
    if isinstance(state, bytes | bytearray | memoryview):
        file = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            write_at(file, memoryview(state).cast("B"), 0)
        finally:
            os.close(file)
    elif isinstance(state, Mapping):
        write_arrays(made, state)
    elif isinstance(state, os.PathLike):
        origin = Path(state).absolute()
        if target.is_relative_to(origin):
            raise StateInvalid(
                f"{origin} lies where its checkpoint is to be: give a function that writes it to the path it is given"
            )
        copy_tree(origin, made)
    elif callable(state):
        state(made)
        found = sorted(entry.name for entry in made.parent.iterdir())
        if found != [made.name]:
            raise StateInvalid(
                f"the function was to write one file or directory, {made.name!r}, and wrote {found}: let it write to "
                "just the path it is given; that has the suffix of the checkpoint's name"
            )
    else:
        raise StateInvalid(
            f"a state is bytes, a mapping of arrays, a Path, or a function that writes to a path, not {state!r:.100}"
        )


def _make_room(target: Path) -> None:
    """Let what is at `target` be either nothing or a whole checkpoint, which may become a backup."""
    finish_interrupted(target)
    if target.is_dir() and not manifest_path(target).exists():
        raise StateInvalid(f"{target} is a folder and no checkpoint: give the name of a checkpoint inside of it")
    if _verified.get(target) == fingerprint_of(target):
        return
    there = look(target)
    if there is not None and there.fault is not None:
        kept_as = set_aside(target)
        warnings.warn(
            CheckpointFellBack(f"{target}, about to be replaced, is not whole: {there.fault}; kept as {kept_as.name}"),
            stacklevel=3,
        )


def _set_aside_if_there(path: Path) -> Path | None:
    if not os.path.lexists(path):
        return None
    try:
        return set_aside(path)
    except OSError as error:
        # It may be read where nothing may be written, and stays where it is then.
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        return None


def _loaded(path: Path, manifest: Manifest | None, fell_back: FellBack | None = None) -> Loaded:
    return Loaded(path, manifest, {} if manifest is None else manifest.extra, fell_back)


def _loaded_from_afar(source: str, *, pause: Callable[[float], None]) -> Loaded | None:
    folder = Path(tempfile.mkdtemp(prefix="resumable-sweep-"))
    try:
        path = folder / (source.partition("?")[0].rstrip("/").rpartition("/")[2] or "state")
        fault = None
        for last in (False, True):
            fetched_beside(source, SUFFIX, manifest_path(path), pause=pause)
            if fetched_beside(source, "", path, pause=pause) is None:
                shutil.rmtree(folder)
                return None
            looked = look(path)
            fault = looked.fault if looked is not None else None
            if fault is None or last:
                break
            pause(_RECHECK_S)  # its writer may have been between the two
        if looked is None or fault is not None:
            raise CheckpointDamaged(
                f"{source} is not whole: {fault}. Bring back a copy that is, or start afresh without it"
            )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    loaded = _loaded(path, looked.manifest)
    weakref.finalize(loaded, shutil.rmtree, folder, ignore_errors=True)
    return loaded


def _absolute(path: str | os.PathLike[str]) -> Path:
    folder = os.environ.get(env.SNAPSHOT_DIR)
    return Path(os.path.abspath(Path(folder or ".") / path))  # noqa: PTH100  (links are kept)


def _place_of(path: str | os.PathLike[str]) -> Path:
    """Return where the checkpoint lies; in a pod only the snapshot directory outlives it."""
    place = _absolute(path)
    folder = os.environ.get(env.SNAPSHOT_DIR)
    if folder and not place.is_relative_to(_absolute(".")):
        raise SettingsInvalid(
            f"{place} lies outside of the snapshot directory {folder}, so nothing would save it: give a path relative "
            "to that directory"
        )
    if place.name.startswith(".") or place.name.endswith((SUFFIX, ".tmp", ".lock")):
        raise StateInvalid(f"{place.name!r} is a name that mirrors take for something else: choose another")
    return place


def _plain(extra: Mapping[str, Any] | None) -> Any:
    try:
        return json.loads(json.dumps({} if extra is None else dict(extra), default=_plain_scalar))
    except (TypeError, ValueError) as error:
        raise StateInvalid(f"extra cannot be kept: {error}. Make it of numbers, strings, lists and mappings") from error


def _plain_scalar(value: Any) -> Any:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"JSON has no form for a {type(value).__name__}: {value!r:.100}")
