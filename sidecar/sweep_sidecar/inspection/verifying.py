"""`verify`: whether all that a run's logs speak of is there and is what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.inspection.entries import WholeLog, read_log
from sweep_sidecar.inspection.runs import Run, side_by_side
from sweep_sidecar.log.entry import CheckpointCorrupt, Entry, Kind, NewerSchema
from sweep_sidecar.log.fencing import is_legal
from sweep_sidecar.log.generation import Segment
from sweep_sidecar.retirement import PREFIX, retired_in
from sweep_sidecar.store import NotFound


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not what it should be: of the run, of a shard, or of one entry of its log."""

    problem: str
    shard: int | None = None
    seq: int | None = None


@dataclass(kw_only=True)
class Verification:
    """What was found in a run; `restores` says by shard what a restore would do, `unreferenced` what nothing needs."""

    url: str
    findings: list[Finding] = field(default_factory=list)
    restores: dict[int, str] = field(default_factory=dict)
    entries: int = 0
    blobs: int = 0
    unreferenced: int = 0
    unreferenced_bytes: int = 0

    def to_json(self) -> dict[str, object]:
        """Return all of it as a JSON object."""
        return asdict(self)


def verify_run(run: Run, *, deep: bool) -> Verification:
    """Check a run: its logs' order and chain, that every piece is there, its items and its merged results.

    `deep` reads every blob that a generation refers to, and the generation that a restore would take as a restore does.

    Raises
    ------
    NewerSchema, Unreachable
    """
    found = Verification(url=run.store.url)
    wholes: dict[int, WholeLog] = {}
    for shard in run.shards:
        try:
            wholes[shard] = read_log(run, shard)
        except NewerSchema:
            raise
        except CheckpointCorrupt as error:  # something foreign stands in the log
            found.findings.append(Finding(shard=shard, problem=str(error)))
    # After the entries: what retention deletes while this runs, it has recorded before.
    try:
        retired = retired_in(run.store, [one.key for one in run.store.list(PREFIX)])
    except NewerSchema:
        raise
    except CheckpointCorrupt as error:
        found.findings.append(Finding(problem=str(error)))
        retired = {}
    blobs = _Blobs(run, deep=deep)
    for shard, whole in wholes.items():
        found.entries += len(whole.entries)
        gone = retired.get(shard, set())
        findings = [*_chain(whole, gone), *_pieces(whole, gone, blobs)]
        taken, more = _taken(whole, gone, findings, deep=deep)
        findings += more
        found.findings += (replace(finding, shard=shard) for finding in findings)
        found.restores[shard] = _said(whole, taken)
    found.findings += _items(run, wholes)
    found.findings += _merged(run)
    found.blobs = len(blobs.sizes)
    if len(wholes) == len(run.shards) and not any(whole.damaged for whole in wholes.values()):
        unneeded = [size for key, size in run.objects.items() if key.startswith("blobs/") and key not in blobs.sizes]
        found.unreferenced, found.unreferenced_bytes = len(unneeded), sum(unneeded)
    return found


def _chain(whole: WholeLog, retired: set[int]) -> Iterator[Finding]:
    """Yield what is wrong with the order of the entries: gaps, damage, a broken chain, writers that were shut out."""
    before: Entry | None = None
    for seq in range(whole.highest + 1):
        if seq in whole.damaged:
            if seq not in retired:
                yield Finding(seq=seq, problem=str(whole.damaged[seq]))
            continue
        if seq not in whole.entries:
            if seq not in retired:
                yield Finding(seq=seq, problem=f"entry {seq} is missing from the log")
            continue
        entry = whole.entries[seq].entry
        below = whole.entries.get(seq - 1)
        if below is not None and entry.prev_sha256 != below.sha256:
            yield Finding(seq=seq, problem=f"entry {seq} was not made on top of entry {seq - 1} as it stands there")
        elif below is None and not entry.prev_sha256 and seq and entry.kind is not Kind.TAKE:
            yield Finding(seq=seq, problem=f"entry {seq}, a {entry.kind}, does not name the entry below it")
        # Who wrote a damaged entry is not known: what follows it is judged by a take alone.
        known = below is not None or seq == 0 or seq - 1 in retired or entry.kind is Kind.TAKE
        if known and not is_legal(None if before is None else replace(before, seq=seq - 1), replace(entry, seq=seq)):
            after = "nothing" if before is None else f"{before.kind} of attempt {before.writer.attempt}"
            yield Finding(
                seq=seq, problem=f"entry {seq}, {entry.kind} of attempt {entry.writer.attempt}, may not follow {after}"
            )
        yield from _named(whole, entry, retired)
        before = entry


def _named(whole: WholeLog, entry: Entry, retired: set[int]) -> Iterator[Finding]:
    if entry.kind in (Kind.TAKE, Kind.GEN):
        return
    named = entry.body.get("generation")
    if named is None or named in retired:
        return
    if not (isinstance(named, int) and 0 <= named < entry.seq) or named in whole.entries.keys() - whole.generations:
        yield Finding(seq=entry.seq, problem=f"entry {entry.seq} names the generation {named!r}, which is none")


def _pieces(whole: WholeLog, retired: set[int], blobs: _Blobs) -> Iterator[Finding]:
    for seq, generation in sorted(whole.generations.items()):
        if seq in retired:
            continue
        for path, version in generation.files.items():
            size = sum(piece.size for piece in version.segments)
            if size != version.size:
                yield Finding(seq=seq, problem=f"{path} has {version.size} bytes, its pieces have {size}")
            for piece in version.segments:
                trouble = blobs.trouble_with(piece) if piece.blob is not None else _inline_trouble(whole, piece)
                if trouble:
                    yield Finding(seq=seq, problem=f"{path}: {trouble}")


def _inline_trouble(whole: WholeLog, piece: Segment) -> str:
    data = piece.inline
    if piece.seq is not None:
        holder = whole.generations.get(piece.seq)
        there = () if holder is None else (one for file in holder.files.values() for one in file.segments)
        data = next((one.inline for one in there if one.inline is not None and one.sha256 == piece.sha256), None)
        if data is None:
            return f"entry {piece.seq} lacks the inline piece {piece.sha256}"
    assert data is not None
    if (len(data), hashlib.sha256(data).hexdigest()) != (piece.size, piece.sha256):
        return f"an inline piece does not fit its digest {piece.sha256}"
    return ""


class _Blobs:
    """Checks each blob once, however many generations refer to it."""

    def __init__(self, run: Run, *, deep: bool) -> None:
        self._run = run
        self._deep = deep
        self._trouble: dict[tuple[str, int, str], str] = {}
        self.sizes: dict[str, int] = {}

    def trouble_with(self, piece: Segment) -> str:
        assert piece.blob is not None
        name = (piece.blob, piece.size, piece.sha256)
        self.sizes[piece.blob] = piece.size
        if name not in self._trouble:
            self._trouble[name] = self._look(piece.blob, piece)
        return self._trouble[name]

    def _look(self, key: str, piece: Segment) -> str:
        size = self._run.objects.get(key)
        if size != piece.size:
            # It may have come after the run was listed.
            size = next((found.size for found in self._run.store.list(key) if found.key == key), None)
        if size is None:
            return f"{key} is missing"
        if size != piece.size:
            return f"{key} has {size} bytes, it had {piece.size}"
        return self._content_trouble(key, piece) if self._deep else ""

    def _content_trouble(self, key: str, piece: Segment) -> str:
        try:
            data = self._run.store.get(key)
        except NotFound:
            return f"{key} is missing"
        digest = hashlib.sha256(data).hexdigest()
        return "" if digest == piece.sha256 else f"{key} holds bytes with sha256 {digest}, they had {piece.sha256}"


def _taken(
    whole: WholeLog, retired: set[int], findings: list[Finding], *, deep: bool
) -> tuple[int | None, list[Finding]]:
    """Return the generation that a restore would take, and what only its contents told."""
    troubled = {finding.seq for finding in findings}
    more: list[Finding] = []
    for seq in sorted(whole.generations.keys() - retired - troubled, reverse=True):
        if not deep:
            return seq, more
        reader = ContentReader(whole.log)
        try:
            for path, version in whole.generations[seq].files.items():
                for _ in reader.pieces(version, what=path):
                    pass
        except CheckpointCorrupt as error:
            more.append(Finding(seq=seq, problem=str(error)))
        else:
            return seq, more
    return None, more


def _said(whole: WholeLog, taken: int | None) -> str:
    newest = max(whole.generations.keys() | whole.damaged.keys(), default=None)
    head = whole.entries.get(whole.highest)
    if taken is None:
        return "a restore finds nothing" + ("" if newest is None else " that is whole: the shard would start afresh")
    items = whole.generations[taken].items_done
    said = f"a restore takes generation {taken} with {items} items"
    if newest is not None and newest > taken:
        said = f"a restore goes back to generation {taken} with {items} items"
    return said + (
        "; the shard is complete, nothing runs any more" if head and head.entry.kind is Kind.COMPLETE else ""
    )


def _items(run: Run, wholes: dict[int, WholeLog]) -> Iterator[Finding]:
    data: bytes | None
    try:
        data = run.store.get(layout.ITEMS)
    except NotFound:
        data = None
    digest = "" if data is None else hashlib.sha256(data).hexdigest()
    for shard, whole in wholes.items():
        for seq, found in sorted(whole.entries.items()):
            named = found.entry.body.get("items_sha256") if found.entry.kind is Kind.TAKE else ""
            if not named or named == digest:
                continue
            there = "is missing" if data is None else f"has sha256 {digest}"
            yield Finding(
                shard=shard, seq=seq, problem=f"{layout.ITEMS} {there}, the attempt was made for items with {named}"
            )


def _merged(run: Run) -> Iterator[Finding]:
    keys = [key for key in sorted(run.objects) if key == layout.merged_key(key[7:71])]
    for key, digest in zip(keys, side_by_side(lambda key: _digest(run, key), keys), strict=True):
        if key != layout.merged_key(digest):
            yield Finding(problem=f"{key} holds bytes with sha256 {digest or 'of nothing: it is missing'}")
        elif layout.provenance_key(digest) not in run.objects:
            yield Finding(problem=f"{layout.provenance_key(digest)} is missing: the merge has not come to its end")


def _digest(run: Run, key: str) -> str:
    try:
        return hashlib.sha256(run.store.get(key)).hexdigest()
    except NotFound:
        return ""
