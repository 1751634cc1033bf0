from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest

from resumable_sweep.contract.canonical import canonical_json
from sweep_sidecar.capture.growing import GrowingFile, Growth, adopted_growing, capture_growing
from sweep_sidecar.capture.pieces import FAN, merged_from
from sweep_sidecar.capture.steady import INLINE_BYTES
from sweep_sidecar.content import BLOB_BYTES
from sweep_sidecar.log.generation import Generation, Segment, inline_segment


class Day:
    """A log that grows, looked at again and again; every look is published."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.pieces: dict[str, bytes] = {}
        self.sent = 0
        self.file: GrowingFile | None = None
        self.seq = 1

    def store_piece(self, data: bytes) -> Segment:
        self.sent += len(data)
        segment = inline_segment(data)
        self.pieces[segment.sha256] = data
        return segment if len(data) <= INLINE_BYTES else replace(segment, inline=None, blob=f"blobs/{segment.sha256}")

    def grow(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)
        self.look()

    def look(self) -> None:
        self.seq += 1
        growth = Growth(store_piece=self.store_piece, is_settled=lambda fingerprint: True, now_s=0.0)
        with self.path.open("rb") as file:
            self.file = capture_growing(file, self.file, growth)
        self.entry = Generation(files={"results.jsonl": self.file.version}, items_done=0, progress=())
        self.file = replace(self.file, version=self.file.version.after_publishing(self.seq))

    @property
    def segments(self) -> tuple[Segment, ...]:
        assert self.file is not None
        return self.file.version.segments

    def stored(self) -> bytes:
        return b"".join(self.pieces[segment.sha256] for segment in self.segments)


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Day(tmp_path / "results.jsonl")


def test_sixteen_pieces_become_one(day: Day) -> None:
    for number in range(FAN - 1):
        day.grow(b"%d\n" % number)
    assert [segment.tier for segment in day.segments] == [0] * (FAN - 1)
    day.grow(b"last\n")
    assert [segment.tier for segment in day.segments] == [1]
    day.grow(b"next\n")
    assert [segment.tier for segment in day.segments] == [1, 0]
    assert day.stored() == day.path.read_bytes()


def test_a_day_of_many_looks_is_few_pieces_and_a_small_entry(day: Day) -> None:
    """100,000 records in 8,640 looks, one every ten seconds."""
    chance = random.Random(7)
    records = 0
    for look in range(8640):
        more = 100_000 * (look + 1) // 8640 - records
        day.grow(
            b"".join(b'{"key":"item-%06d","result":%.17g}\n' % (records + n, chance.random()) for n in range(more))
        )
        records += more
    assert records == 100_000
    assert day.stored() == day.path.read_bytes()
    tiers = 4  # 16 ** 3 < 8640 < 16 ** 4
    assert len(day.segments) <= (FAN - 1) * tiers
    entry = canonical_json(day.entry.to_body())
    inline = sum(len(segment.inline or b"") for segment in day.entry.files["results.jsonl"].segments)
    assert len(entry) - inline < 16_000
    assert day.sent <= tiers * day.path.stat().st_size
    assert len({segment.seq for segment in day.segments if segment.seq is not None}) <= (FAN - 1) * tiers


def test_what_fills_a_blob_is_not_sent_again() -> None:
    large = [replace(inline_segment(b""), size=BLOB_BYTES // FAN + 1)] * (FAN - 1)
    assert merged_from(large, 1) == (0, 1)
    assert merged_from(large, BLOB_BYTES // FAN + 1) == (len(large), 0)
    assert merged_from([replace(large[0], tier=1), *large[1:]], 1) == (len(large), 0)


def test_a_successor_goes_on_in_tiers(day: Day) -> None:
    for number in range(FAN - 1):
        day.grow(b"%d\n" % number)
    version = day.segments and day.file
    assert version is not None
    with day.path.open("rb") as file:
        again = adopted_growing(file, version.version, now_s=0.0)
    assert again is not None
    day.file = again
    day.grow(b"last\n")
    assert [segment.tier for segment in day.segments] == [1]


def test_a_piece_that_was_changed_far_back_makes_it_another_file(day: Day) -> None:
    padding = b"x" * 10_000 + b"\n"
    for _ in range(FAN - 1):
        day.grow(padding)
    with day.path.open("r+b") as file:
        file.write(b"changed")
    day.grow(b"last\n")
    assert day.stored() == day.path.read_bytes()
    assert day.file is not None
    assert day.file.version.sha256 == hashlib.sha256(day.path.read_bytes()).hexdigest()
    assert len(day.segments) == 1
