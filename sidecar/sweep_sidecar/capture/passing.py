"""One pass over a snapshot directory: what records first, then what it may speak of, then a check that it was one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sweep_sidecar.capture.groups import RECORDING, Group, Kind
from sweep_sidecar.capture.in_use import InUse
from sweep_sidecar.capture.opening import Gone
from sweep_sidecar.capture.steady import Fingerprint, Unsteady
from sweep_sidecar.capture.taking import NotWhole, Taker, Tracked
from sweep_sidecar.capture.tree import Tree

TRIES = 8
STRICT_TRIES = 2
"""So many tries ask for a pass during which nothing changed but logs, which grew, and files that were added: it is the
directory at one moment. The others ask only that no record has come without what it speaks of."""


class Torn(Exception):
    """What was read is no state of the directory; the message says what changed meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """A group that was not taken, and why; `found` are its files as they were then."""

    why: str
    kind: Kind
    is_in_use: bool
    is_unsteady: bool
    found: Mapping[str, Fingerprint]


@dataclass(kw_only=True)
class Pass:
    """What one pass has taken, and what it had to leave as it was.

    Parameters
    ----------
    standing:
        The files as they were taken by the last pass that counted.
    known:
        These, and what tries since have taken.
    left_before:
        What the last pass that counted has left, by the path of the group.
    """

    scan: Callable[[], Tree]
    groups_in: Callable[[Tree], list[Group]]
    taker_for: Callable[[Tree], Taker]
    standing: Mapping[str, Tracked]
    known: dict[str, Tracked]
    left_before: Mapping[str, Left]
    is_settled: Callable[[Fingerprint], bool]
    is_strict: bool
    at_rest: bool
    taken: dict[str, Tracked] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    left: dict[str, Left] = field(default_factory=dict)
    _stands: set[str] = field(default_factory=set)

    def run(self, first: Tree) -> None:
        """Do the pass from the scan `first` on.

        Raises
        ------
        Torn
        LogInvalid, Unreadable, Unreachable
        """
        groups = self.groups_in(first)
        taker = self.taker_for(first)
        recording = [group for group in groups if group.is_recording]
        for group in recording:
            self._take(group, taker)
        second = first
        if recording:
            # A record may speak of a file that was not there yet when the first scan came by, and of one that is not
            # there any more, because a later record says so.
            second = self.scan()
            taker = self.taker_for(second)
            removed = first.files.keys() - second.files.keys()
            if removed:
                raise Torn(f"{min(removed)} was renamed or removed")
            groups = self.groups_in(second)
            changed = any(
                first.files.get(path) != second.files.get(path) for group in recording for path in group.members
            )
            if self.is_strict and changed and first.renewed_ns != second.renewed_ns:
                # Where a file came and went between the two, neither shows it, and a record may name it.
                raise Torn("records and files were written")
            known = {group.path for group in recording}
            for group in groups:
                if group.is_recording and group.path not in known and (self.is_strict or group.path in first.files):
                    raise Torn(f"{group.path} was added")
        for group in groups:
            if not group.is_recording:
                self._take(group, taker)
        self._keep_named(second)
        self.folders = frozenset(group.path for group in groups if group.kind is Kind.FOLDER)
        if not self.at_rest:
            self._check(first, second, self.scan(), recording=recording)

    def _take(self, group: Group, taker: Taker) -> None:
        there = taker.tree.files
        found = {path: there[path] for path in group.members if path in there}
        try:
            self._check_news(group, found)
            taken = taker.take(group)
        except Gone as error:
            raise Torn(f"{group.path} was renamed or removed") from error
        except (NotWhole, InUse) as error:
            self._leave(group, found, str(error), is_in_use=isinstance(error, InUse))
        except Unsteady as error:
            why = f"{group.path or 'the directory'} is written to without a pause"
            if self.is_strict:
                raise Torn(why) from error
            self._leave(group, found, why, is_unsteady=True)
        else:
            self.known.update(taken)
            self.taken.update(taken)

    def _leave(
        self,
        group: Group,
        found: Mapping[str, Fingerprint],
        why: str,
        *,
        is_in_use: bool = False,
        is_unsteady: bool = False,
    ) -> None:
        self.left[group.path] = Left(
            why=why, kind=group.kind, is_in_use=is_in_use, is_unsteady=is_unsteady, found=found
        )
        stands = {path: self.standing[path] for path in group.members if path in self.standing}
        if group.kind in (Kind.FOLDER, Kind.PAIR):
            start = f"{group.path}/" if group.path else ""
            stands |= {path: tracked for path, tracked in self.standing.items() if path.startswith(start)}
        self.taken.update(stands)
        self._stands.update(stands)

    def _keep_named(self, tree: Tree) -> None:
        """Where an older record stands, let what it may name stand too, though it was removed since."""
        if not any(left.kind in RECORDING for left in self.left.values()):
            return
        for path, tracked in self.standing.items():
            is_gone = path not in tree.files and path not in tree.folders
            if is_gone and not any(str(above) in tree.files for above in PurePosixPath(path).parents):
                self.taken.setdefault(path, tracked)
                self._stands.add(path)

    def _check_news(self, group: Group, found: Mapping[str, Fingerprint]) -> None:
        """Raise NotWhole again where a group was not whole and is as it was, instead of reading it all again."""
        before = self.left_before.get(group.path)
        if self.at_rest:  # less is asked of it now
            return
        if before is None or before.kind is not group.kind or before.is_in_use or before.is_unsteady:
            return
        if before.found != found:
            return
        if all(self.is_settled(one) for one in found.values()):
            raise NotWhole(before.why)

    def _check(self, first: Tree, second: Tree, third: Tree, *, recording: list[Group]) -> None:
        for path, inode in {**first.folders, **second.folders}.items():
            if third.folders.get(path, inode) != inode:
                raise Torn(f"another folder took the place of {path}")
        records = {path for group in recording for path in group.members}
        rewritten = next((path for path in sorted(records) if self._was_rewritten(path, third)), None)
        if rewritten is not None or self.is_strict:
            self._check_steady(first, second, third, records=records)
        if not self.is_strict:
            return
        if rewritten is not None:
            raise Torn(f"{rewritten} was rewritten")
        for left in self.left.values():
            if left.kind is Kind.PAIR and any(third.files.get(path) != found for path, found in left.found.items()):
                raise Torn("a file was written whose manifest did not fit")
        if not (first.files.keys() | second.files.keys()) <= third.files.keys():
            raise Torn("files were renamed or removed")

    def _check_steady(self, first: Tree, second: Tree, third: Tree, *, records: Collection[str]) -> None:
        """Raise Torn where a file is newer than the records that were read before it may know of."""
        for path, tracked in self.taken.items():
            if path in records or path in self._stands or tracked.growing is not None:
                continue
            found = tracked.fingerprint
            before = first.files.get(path, found)
            assert found is not None
            assert before is not None
            has_grown = before[0] == found[0] and before[1] < found[1]
            if before != found and not has_grown:
                raise Torn(f"{path} was replaced")
            if self.is_strict and (has_grown or third.files.get(path) != found):
                raise Torn(f"{path} was written to or removed")

    def _was_rewritten(self, path: str, third: Tree) -> bool:
        tracked, found = self.taken.get(path), third.files.get(path)
        if tracked is None or path in self._stands:
            return False
        if found is None:
            return True
        if tracked.growing is not None:
            return found[0] != tracked.growing.inode or found[1] < tracked.version.size
        return found != tracked.fingerprint
