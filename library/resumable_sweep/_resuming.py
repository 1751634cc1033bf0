"""Bringing results from elsewhere into a log: another log of this library, or a checkpoint of another package."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

from resumable_sweep._disk import temporary_path
from resumable_sweep._foreign import foreign_entries, is_mime
from resumable_sweep._ledger import Ledger, State
from resumable_sweep._preserved import SUFFIX as SUFFIX_OF_PRESERVED
from resumable_sweep._preserved import Preserved, known_of, parsed_preserved
from resumable_sweep._salvage import header_of_manifest
from resumable_sweep._scan import Scan, scan
from resumable_sweep._side_files import FILE_TAG, SideFile, SideFileDamaged, SideFiles, side_files_in
from resumable_sweep._sources import Fetched, fetched, fetched_beside, is_local, keep_aside, local_path
from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import (
    DONE,
    FAILED,
    SKIPPED,
    LogInvalid,
    check_version,
    checked_line,
    entry_of,
    has_check,
)
from resumable_sweep.contract.manifest import SUFFIX

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_STATES = {DONE: State.DONE, FAILED: State.FAILED, SKIPPED: State.SKIPPED}


@dataclass(frozen=True, kw_only=True)
class FallBack:
    """Something damaged was set aside: what, why, where its copy lies (None: nowhere), and what is used instead."""

    source: str
    reason: str
    kept_as: Path | None
    used: str

    @property
    def text(self) -> str:
        """The same as one sentence."""
        kept = "" if self.kept_as is None else f"; it is kept as {self.kept_as}"
        return f"{self.source} is damaged ({self.reason}){kept}; used instead: {self.used}"


@dataclass(kw_only=True)
class Brought:
    """Results from elsewhere as lines for the log, each with the state and the key's identity that it decides."""

    lines: list[tuple[State, str, bytes]] = field(default_factory=list)
    known: Preserved = field(default_factory=Preserved)
    """What the source's results are made from, as far as it says."""
    fall_backs: list[FallBack] = field(default_factory=list)
    has_random_states: bool = False
    """Whether the last line has the random states that held then."""


def brought(
    source: str | os.PathLike[str],
    *,
    log_path: Path,
    run_id: str | None,
    files: SideFiles,
    wanted: Callable[[str, State], bool],
) -> Brought:
    """Return what `source` (path or URL) has of the items that are `wanted`, by their keys' identities and states.

    A source that does not exist has nothing. What belongs to results (side files) is in `files` when this returns.

    Raises
    ------
    SourceInvalid, SourceUnreachable
        Where `source` is no address, or nobody can tell what is there.
    LogInvalid
        Where it is no checkpoint that is known, of a newer schema, or belongs to another run.
    """
    found = Brought()
    here = temporary_path(log_path.with_name(f"{log_path.name}.resume"))
    try:
        got = fetched(source, here)
        if got is None:
            return found
        if got.damage is not None:
            used = "nothing of it" if is_mime(got.path) else "every line of it that fits its checksum"
            used = used if got.older is None else f"the state before it, {got.older.name}"
            kept_as = keep_aside(got.path, log_path)
            found.fall_backs.append(FallBack(source=got.origin, reason=got.damage, kept_as=kept_as, used=used))
        path = got.path if got.damage is None or got.older is None else got.older
        fetch = _fetcher(source, here)
        header: dict[str, Any] = {}
        entries = _entries(path, got, run_id=run_id, found=found, log_path=log_path, header=header, wanted=wanted)
        with closing(entries):
            for state, name, entry in entries:
                _take(entry, state, name, fetch=fetch, files=files, found=found)
        if header:
            found.known = known_of(header, _preserved_beside(source, here))
        return found
    finally:
        for left in here.parent.glob(f"{escape(here.name)}*"):
            with suppress(OSError):
                left.unlink()


def is_same_file(source: str | os.PathLike[str], path: Path) -> bool:
    """Return whether `source` names the file at `path` itself."""
    text = os.fspath(source)
    if not is_local(text):
        return False
    try:
        return local_path(text).samefile(path)
    except OSError:
        return False


def _entries(
    path: Path,
    got: Fetched,
    *,
    run_id: str | None,
    found: Brought,
    log_path: Path,
    header: dict[str, Any],
    wanted: Callable[[str, State], bool],
) -> Generator[tuple[State, str, dict[str, Any]]]:
    try:
        foreign = foreign_entries(path)
        entries = None if foreign is None else list(foreign)
    except LogInvalid:
        if got.damage is None:
            raise
        return  # it is set aside already, and there is no older state
    if entries is None:
        yield from _entries_of_log(
            path, got, run_id=run_id, found=found, log_path=log_path, header=header, wanted=wanted
        )  # fmt: skip
        return
    for entry in entries:
        state, name = _STATES[entry["kind"]], identity(entry["key"])
        if wanted(name, state):
            yield state, name, entry


def _entries_of_log(
    path: Path,
    got: Fetched,
    *,
    run_id: str | None,
    found: Brought,
    log_path: Path,
    header: dict[str, Any],
    wanted: Callable[[str, State], bool],
) -> Generator[tuple[State, str, dict[str, Any]]]:
    """Yield what decides the state of each key: of one that failed all its failures, which count its tries.

    The entry with the newest random states comes last.
    """
    known, failures = Ledger(), defaultdict[str, list[tuple[int, int]]](list)

    def note(state: State, names: list[str], offsets: Sequence[int], sizes: Sequence[int]) -> None:
        known.note(state, names, offsets, sizes)
        if state is State.FAILED:
            for name, *where in zip(names, offsets, sizes, strict=True):
                failures[name].append((where[0], where[1]))

    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            held = scan(file, note)
        except LogInvalid as error:
            raise LogInvalid(f"{got.origin}: {error}") from error
        if not _is_trusted(path, got, held, run_id=run_id, found=found, log_path=log_path, header=header):
            return
        last = _with_newest_states(file, held)
        put_off = []
        for name, record in known.strays.items():
            # One that was begun again after it failed has failed no less often.
            state = State.FAILED if record.state is State.IN_PROGRESS and failures[name] else record.state
            if state not in _STATES.values() or not wanted(name, state):
                continue
            for offset, size in failures[name] if state is State.FAILED else [(record.offset, record.size)]:
                line = os.pread(file, size, offset)
                if got.damage is not None and not has_check(line):
                    continue
                entry = state, name, entry_of(line, 0)
                if offset == last:
                    put_off.append(entry)
                    continue
                entry[2].pop("random_state", None)
                yield entry
        yield from put_off
    finally:
        os.close(file)


def _is_trusted(
    path: Path,
    got: Fetched,
    held: Scan,
    *,
    run_id: str | None,
    found: Brought,
    log_path: Path,
    header: dict[str, Any],
) -> bool:
    """Return whether there is anything to use of a log that holds that; its header is put into `header`."""
    if not held.lines and b'{"kind":"header"'.startswith(held.first_bytes[:16].strip(b"\0")):
        return False
    if not held.is_log:
        raise LogInvalid(
            f"{got.origin} is no log of results, nor a checkpoint of mime-engine or gmat-sweep: give another "
            "resume_from, or leave it out"
        )
    header.update(held.header or header_of_manifest(path))
    if held.damaged and not any(fall_back.source == got.origin for fall_back in found.fall_backs):
        used = "every line of it that fits its checksum" if header else "nothing of it: its header is lost"
        kept_as = keep_aside(path, log_path)
        reason = held.damaged[0].reason
        found.fall_backs.append(FallBack(source=got.origin, reason=reason, kept_as=kept_as, used=used))
    if not header:
        return False
    check_version(header, got.origin)
    theirs = header.get("run_id")
    if run_id is not None and theirs is not None and theirs != run_id:
        raise LogInvalid(
            f"{got.origin} holds the results of run {theirs}, but this is run {run_id}: choose another resume_from"
        )
    return True


def _with_newest_states(file: int, held: Scan) -> int:
    """Return the offset of the last entry that has random states, -1 where none has."""
    for _, offset, size in reversed(held.with_files):
        if "random_state" in json.loads(os.pread(file, size, offset)):
            return offset
    return -1


def _take(
    entry: dict[str, Any],
    state: State,
    name: str,
    *,
    fetch: Callable[[SideFile], Any],
    files: SideFiles,
    found: Brought,
) -> None:
    states = entry.pop("random_state", None)
    kept = {key: value for key, value in entry.items() if key not in ("kind", "key", "result")}
    if state is State.DONE:
        kept = {"result": entry["result"], **kept}
        try:
            for side_file in side_files_in(entry["result"]):
                files.keep(fetch(side_file), side_file.kind)
        except SideFileDamaged as error:
            used = f"nothing: item {name:.200} runs again"
            found.fall_backs.append(FallBack(source="a side file", reason=str(error), kept_as=None, used=used))
            return
        if FILE_TAG in json.dumps(kept["result"]):
            kept["result"] = _moved(kept["result"], files)
    if states is not None and (brought_states := _brought_states(states, fetch=fetch, files=files, found=found)):
        kept["random_state"] = brought_states
        found.has_random_states = True
    text = _ENCODE({"kind": entry["kind"], "key": json.loads(name), **kept})[:-1]
    # Half of a surrogate pair, as an error's text may hold it, has no form in UTF-8.
    found.lines.append((state, name, checked_line(text.encode("utf-8", "backslashreplace"))))


def _brought_states(
    states: Any, *, fetch: Callable[[SideFile], Any], files: SideFiles, found: Brought
) -> dict[str, Any] | None:
    try:
        for side_file in side_files_in(states):
            return files.keep(fetch(side_file), side_file.kind).tag()
    except SideFileDamaged as error:
        used = "the random states that the program has set"
        found.fall_backs.append(FallBack(source="a side file", reason=str(error), kept_as=None, used=used))
    return None


def _moved(value: Any, files: SideFiles) -> Any:
    """Return a result whose side files are those of `files`."""
    if isinstance(value, list):
        return [_moved(part, files) for part in value]
    if not isinstance(value, dict):
        return value
    if FILE_TAG in value:
        fields = value[FILE_TAG]
        return {FILE_TAG: {**fields, "path": f"{files.folder.name}/{PurePosixPath(fields['path']).name}"}}
    return {key: _moved(part, files) for key, part in value.items()}


def _preserved_beside(source: str | os.PathLike[str], here: Path) -> Preserved | None:
    """Return what lies beside `source` of what its results are made from; that it is damaged or lost costs details."""
    path = fetched_beside(source, SUFFIX_OF_PRESERVED, here.with_name(f"{here.name}.preserved"))
    with suppress(ValueError):
        return None if path is None else parsed_preserved(path.read_bytes())
    return None


def _fetcher(source: str | os.PathLike[str], here: Path) -> Callable[[SideFile], Any]:
    """Return how to get the content of a side file of `source`."""

    def named_before(side_file: SideFile) -> str:
        address, mark, query = os.fspath(source).partition("?" if "://" in os.fspath(source) else "\0")
        folder, slash, _ = address.rpartition("/")
        name = side_file.path.partition("/")[0].removesuffix(".files")
        return f"{folder}{slash}{name}{mark}{query}"

    def fetch(side_file: SideFile) -> Any:
        suffix = f".files/{side_file.name}"
        target = here.with_name(f"{here.name}{SUFFIX}.side")
        # A log that was renamed may still have them in the folder of its name before.
        path = fetched_beside(source, suffix, target) or fetched_beside(named_before(side_file), suffix, target)
        if path is None:
            raise SideFileDamaged(f"{os.fspath(source)}{suffix} is missing")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != side_file.sha256:
            raise SideFileDamaged(f"{os.fspath(source)}{suffix} does not hold what it held when it was recorded")
        return data

    return fetch
