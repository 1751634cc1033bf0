"""What is wrong with a log and the files beside it, found without changing any of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resumable_sweep._command.log_view import LogView, is_log
from resumable_sweep._ledger import State
from resumable_sweep._preserved import PreservedInvalid, parsed_preserved, preserved_path
from resumable_sweep._salvage import header_of_manifest
from resumable_sweep._side_files import SideFiles, side_files_in
from resumable_sweep._sources import damage_of
from resumable_sweep.contract.log_format import LogInvalid
from resumable_sweep.contract.manifest import manifest_path

UNSURE = "its lines have no checksums to tell which are good: it is kept as .corrupt-N, and all items run again"
"""The fate of a log of version 1 that its manifest contradicts."""
_LOOKS = 3
"""How often a log in which something is wrong is looked at, for its writer may have been in the middle of a step."""
_CHECKED_SINCE = 2
_SIDE_FILE_NAME = re.compile(rb"[0-9a-f]{64}\.(?:npy|bin|json)")
_CHUNK_BYTES = 4 << 20
_NAME_BYTES = 80


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be: `fate` is what a resume does about it.

    `is_damage` is False of what an ordinary crash leaves behind, and of what nobody can tell: `verify` only notes it.
    """

    path: str
    problem: str
    fate: str
    is_damage: bool = True


def log_findings(path: Path) -> list[Finding]:
    """Return what is wrong with the log at `path` and the files beside it.

    Raises
    ------
    CommandError
        Where there is none.
    LogInvalid, PreservedInvalid
        Where one is of a newer schema.
    """
    found: list[Finding] = []
    for _ in range(_LOOKS):
        with LogView(path) as view:
            before = _fingerprint(path)
            found = list(_findings(view))
        if before == _fingerprint(path) or not any(one.is_damage for one in found):
            break
    return found


def damaged_results(view: LogView) -> list[tuple[str, str]]:
    """Return the done items whose side files are damaged, by their keys' identities, and what is wrong with each."""
    files = SideFiles(view.path)
    deciding = {one.offset: one.name for one in view.standings() if one.state is State.DONE}
    found = []
    for name, offset, size in view.scan.with_files:
        if deciding.get(offset) != name:
            continue
        try:
            problems = [files.verify(file) for file in side_files_in(view.entry_at(offset, size).get("result"))]
        except ValueError as error:
            problems = [str(error)]
        problem = next((text for text in problems if text is not None), None)
        if problem is not None:
            found.append((name, problem))
    return found


def orphans_of(view: LogView) -> list[Path]:
    """Return the files in the log's folder of side files that no log beside it names, nor any copy kept of one.

    Whatever looks like a side file's name counts there, in damaged lines too: what may still be wanted is no orphan.
    """
    files = SideFiles(view.path)
    named: set[str] = set()
    for _, offset, size in view.scan.with_files:
        named.update(_named_in_line(view, offset, size))
    orphans = files.orphans(named)
    if not orphans:
        return []
    elsewhere: set[str] = set()
    kept = re.compile(re.escape(view.path.name) + r"\.(?:corrupt|backup)-[0-9]+")
    for path in view.path.parent.iterdir():
        if path.is_file() and (is_log(path) or kept.fullmatch(path.name)):
            elsewhere |= _names_in(path)
    return [path for path in orphans if path.name not in elsewhere]


def _named_in_line(view: LogView, offset: int, size: int) -> list[str]:
    """Return the paths of the side files that the entry at `offset` names; none where a tag of it is damaged."""
    try:
        return [file.path for file in side_files_in(view.entry_at(offset, size))]
    except ValueError:
        return []


def _findings(view: LogView) -> Iterator[Finding]:
    path = view.path
    yield from _findings_of_lines(view)
    yield from _findings_of_manifest(view)
    for name, problem in damaged_results(view):
        yield Finding(path=str(path), problem=f"item {name:.200}: {problem}", fate="the item runs again")
    yield from _findings_of_random_state(view)
    yield from _findings_of_preserved(path)
    if view.scan.completion is not None and (why := view.why_not_complete()) is not None:
        yield Finding(path=str(path), problem=why, fate="what is left to do runs, and the log is completed anew")
    for orphan in orphans_of(view):
        yield Finding(
            path=str(orphan),
            problem="no log here names it: a crash came between it and its record, or it is being written now",
            fate="it stays; `resumable-sweep repair` removes it",
            is_damage=False,
        )


def _findings_of_lines(view: LogView) -> Iterator[Finding]:
    path, scan = str(view.path), view.scan
    fate = "the file is kept as .corrupt-N, its other lines count, and what the line said is done again"
    if scan.damaged and not scan.header and not header_of_manifest(view.path):
        fate = "the header is lost, and no manifest repeats it: the file is kept as .corrupt-N, and all items run again"
    for damage in scan.damaged:
        yield Finding(path=path, problem=damage.reason, fate=fate)
    if scan.size > scan.end:
        yield Finding(
            path=path,
            problem=f"its last line is torn, or is being written now ({scan.size - scan.end} bytes)",
            fate="it is cut off; what it was to say was never promised",
            is_damage=False,
        )


def _findings_of_manifest(view: LogView) -> Iterator[Finding]:
    path = manifest_path(view.path)
    if not path.exists():
        yield Finding(path=str(path), problem="there is none", fate="it is written", is_damage=False)
        return
    try:
        damage = damage_of(view.path)
    except LogInvalid as error:
        raise LogInvalid(f"{error}") from error
    if damage is None:
        return
    unchecked = 0 < view.scan.version < _CHECKED_SINCE and not view.scan.damaged
    if unchecked and "hash" in damage:
        fate = UNSURE
    else:
        fate = "each line that fits its own checksum counts, and the manifest is written anew"
    yield Finding(path=str(view.path), problem=damage, fate=fate)


def _findings_of_random_state(view: LogView) -> Iterator[Finding]:
    """Look at the newest saved random states; those before are removed as soon as newer ones are there."""
    for _, offset, size in reversed(view.scan.with_files):
        states = view.entry_at(offset, size).get("random_state")
        if states is None:
            continue
        try:
            problems = [SideFiles(view.path).verify(file) for file in side_files_in(states)]
        except ValueError as error:
            problems = [str(error)]
        for problem in problems:
            if problem is not None:
                fate = "the random states are as the program sets them"
                yield Finding(path=str(view.path), problem=f"the saved random states: {problem}", fate=fate)
        return


def _findings_of_preserved(log_path: Path) -> Iterator[Finding]:
    path = preserved_path(log_path)
    try:
        parsed_preserved(path.read_bytes())
    except FileNotFoundError:
        return
    except PreservedInvalid as error:
        raise PreservedInvalid(f"{path} {error}") from error
    except ValueError as error:
        fate = "it is kept as .corrupt-N, and the hashes in the log are used"
        yield Finding(path=str(path), problem=str(error), fate=fate)


def _names_in(path: Path) -> set[str]:
    """Return whatever looks like a side file's name in the file at `path`."""
    found: set[str] = set()
    with path.open("rb") as file:
        rest = b""
        while piece := file.read(_CHUNK_BYTES):
            data = rest + piece
            found.update(name.decode() for name in _SIDE_FILE_NAME.findall(data))
            rest = data[-_NAME_BYTES:]
    return found


def _fingerprint(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
