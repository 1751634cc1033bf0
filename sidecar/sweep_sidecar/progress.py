"""Which items a checkpoint file records: the library's log, and what `mime-engine` and `gmat-sweep` write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.gmat_manifest import check_gmat_version, entry_of_run, gmat_run, is_gmat_header
from resumable_sweep.contract.log_format import (
    COMPLETE,
    DONE,
    FAILED,
    SKIPPED,
    STARTED,
    LogInvalid,
    entries_of,
    is_sweep_log,
)
from sweep_sidecar.mime_keys import mime_keys

LOG_SUFFIX = ".jsonl"
MIME_SUFFIX = ".progress.json"
Progress = Literal["auto", "sweep", "mime", "gmat", "none"]
"""In which format items are recorded; `auto` = whichever of `sweep` and `mime` a file turns out to be in."""
Format = Literal["sweep", "mime", "gmat"]


_SWEEP: frozenset[Format] = frozenset({"sweep"})
_MIME: frozenset[Format] = frozenset({"mime"})
_GMAT: frozenset[Format] = frozenset({"gmat"})


@dataclass(frozen=True)
class Counted:
    """What files record: keys by their identity, and the library's own word that they are all (None, "": not given).

    `keys` have a result, `skipped` are those that the program has decided not to do: both need nothing more. Only the
    last entry of a log can be the library's word.
    """

    keys: frozenset[str] = frozenset()
    total: int | None = None
    keys_sha256: str = ""
    skipped: frozenset[str] = frozenset()
    formats: frozenset[Format] = frozenset()
    """What the records were read from."""

    @property
    def settled(self) -> frozenset[str]:
        """The keys with which nothing is left to do."""
        return self.keys | self.skipped if self.skipped else self.keys


def counted_start(head: bytes, progress: Progress) -> Counted | None:
    """Return what to count the lines from of a file that starts with `head`, None where none of them are counted.

    Raises
    ------
    LogInvalid
        Where it is of a schema that is not known.
    """
    if progress in ("auto", "sweep") and starts_sweep_log(head):
        return Counted(formats=_SWEEP)
    first, newline, _ = head.partition(b"\n")
    if progress == "gmat" and newline and is_gmat_header(first):
        check_gmat_version(first, "the file")
        return Counted(formats=_GMAT)
    return None


def counted_lines(data: bytes, before: Counted) -> Counted:
    """Return what a file of lines records once the whole lines `data` are added to it.

    Parameters
    ----------
    before:
        What `counted_start` returned, or this function for the lines before.

    Raises
    ------
    LogInvalid
        Where a line is no entry.
    """
    return _counted_runs(data, before) if before.formats == _GMAT else _counted_entries(data, before)


def _counted_entries(data: bytes, before: Counted) -> Counted:
    keys = set()
    skipped = set(before.skipped)
    total, keys_sha256 = before.total, before.keys_sha256
    for entry in entries_of(data):
        try:
            if entry.get("kind") != COMPLETE:
                # It counts only as the last entry: whatever follows says that there was more to do after all.
                total, keys_sha256 = None, ""
            if entry.get("kind") == COMPLETE:
                total, keys_sha256 = int(entry["total"]), str(entry["keys_sha256"])
                continue
            if entry.get("kind") == DONE:
                keys.add(identity(entry["key"]))
            elif entry.get("kind") == SKIPPED:
                skipped.add(identity(entry["key"]))
            elif skipped and entry.get("kind") in (FAILED, STARTED):
                # The program has come back to it after all.
                skipped.discard(identity(entry["key"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LogInvalid(f"an entry of kind {entry.get('kind')!r} lacks or garbles a field: {error!r}") from error
    every = before.keys | keys
    return Counted(every, total, keys_sha256, frozenset(skipped - every), _SWEEP)


def _counted_runs(data: bytes, before: Counted) -> Counted:
    keys, skipped = set(before.keys), set(before.skipped)
    for entry in gmat_entries_of(data.split(b"\n")):
        name = identity(entry["key"])
        if entry["kind"] == DONE:
            keys.add(name)
        elif entry["kind"] == FAILED:
            # The last entry of a run counts, for gmat-sweep too, which makes a run again that has failed.
            keys.discard(name)
        if entry["kind"] == SKIPPED:
            skipped.add(name)
        else:
            skipped.discard(name)
    return Counted(frozenset(keys), skipped=frozenset(skipped - keys), formats=_GMAT)


def gmat_entries_of(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the runs that lines of a manifest of gmat-sweep hold, as entries of the library's log.

    Raises
    ------
    LogInvalid
        Where a line holds none: gmat-sweep itself could not go on from such a manifest.
    """
    for line in lines:
        if not line.strip():
            continue
        run = gmat_run(line)
        if run is not None:
            yield entry_of_run(run)
        elif not is_gmat_header(line):
            raise LogInvalid(f"a line is no entry of gmat-sweep's: {line[:80]!r}; remove it, and its run is made again")


def settled_entries(entries: Iterable[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the entries that settle a key, by the key's identity: results, and what was skipped and has none.

    The last `done` of a key wins; of a key without one the last entry counts.
    """
    results: dict[str, dict[str, Any]] = {}
    skipped: dict[str, dict[str, Any]] = {}
    for entry in entries:
        kind = entry.get("kind")
        if kind == DONE:
            results[identity(entry["key"])] = entry
        elif kind == SKIPPED:
            skipped[identity(entry["key"])] = entry
        elif skipped and kind in (FAILED, STARTED):
            skipped.pop(identity(entry["key"]), None)
    return results, {name: entry for name, entry in skipped.items() if name not in results}


def may_be_mime(path: str, progress: Progress) -> bool:
    """Return whether the records of the file at `path` are counted where it is a `mime-engine` progress file."""
    return progress in ("auto", "mime") and path.endswith(MIME_SUFFIX)


def counted_mime(data: bytes) -> Counted | None:
    """Return what a `mime-engine` progress file records, None where it is not one."""
    try:
        return Counted(mime_keys(data), formats=_MIME)
    except (ValueError, KeyError, TypeError):
        return None


def mime_records(data: bytes) -> dict[str, dict[str, Any]] | None:
    """Return the records of a `mime-engine` progress file by the keys' identity, None where it is not one.

    Its form, `{"completed": [{"key", "result"}, ...]}`, is that of mime-engine's `mime.data.sweep_resume`.
    """
    try:
        completed = json.loads(data)["completed"]
        return {identity(record["key"]): dict(record) for record in completed}
    except (ValueError, KeyError, TypeError):
        return None


def starts_sweep_log(data: bytes) -> bool:
    """Return whether a file that starts with `data` is the library's log."""
    first, newline, _ = data.partition(b"\n")
    return bool(newline) and is_sweep_log(first)


def united(counts: Sequence[Counted]) -> Counted:
    """Return the records of all files; the library's word that they are all counts only where its log stands alone."""
    if len(counts) == 1:
        return counts[0]
    keys = frozenset[str]().union(*(counted.keys for counted in counts))
    skipped = frozenset[str]().union(*(counted.skipped for counted in counts))
    formats = frozenset[Format]().union(*(counted.formats for counted in counts))
    return Counted(keys, skipped=skipped - keys, formats=formats)


def counting(files: Mapping[str, Counted | None], *, named: str) -> tuple[str, ...]:
    """Return the paths whose records count, in order: the named checkpoint where it can be counted, else all that can.

    A later file's record of a key wins over an earlier one's.
    """
    if files.get(named) is not None:
        return (named,)
    return tuple(sorted(path for path, counted in files.items() if counted is not None))
