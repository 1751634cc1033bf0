from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep_sidecar import content
from sweep_sidecar.content import ContentReader, store_blob
from sweep_sidecar.log.entry import CheckpointCorrupt
from sweep_sidecar.log.generation import FileVersion, Generation, Segment, inline_segment, parsed_generation
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore


def version_of(data: bytes, *segments: Segment) -> FileVersion:
    return FileVersion(size=len(data), sha256=hashlib.sha256(data).hexdigest(), mode=0o644, segments=segments)


def test_a_blob_is_named_by_its_content_and_used_again() -> None:
    store = MemoryStore()
    first = store_blob(store, b"content", nonce=lambda: "n")
    assert first.blob == f"blobs/{hashlib.sha256(b'content').hexdigest()}"
    assert store_blob(store, b"content", nonce=lambda: "n") == first


def test_a_wrong_object_in_the_way_blocks_nobody() -> None:
    store = MemoryStore()
    digest = hashlib.sha256(b"content").hexdigest()
    store.objects[f"blobs/{digest}"] = b"torn"
    segment = store_blob(store, b"content", nonce=lambda: "n")
    assert segment.blob == f"blobs/{digest}.n"
    data = b"content"
    assert ContentReader(LogReader(store, "f")).content(version_of(data, segment), what="x") == data


def test_pieces_are_put_together_in_order_however_many() -> None:
    store = MemoryStore()
    pieces = [bytes([number]) * (number + 1) for number in range(40)]
    segments = [store_blob(store, piece, nonce=lambda: "n") for piece in pieces]
    data = b"".join(pieces)
    assert ContentReader(LogReader(store, "f")).content(version_of(data, *segments), what="x") == data


def test_whole_pieces_that_make_a_wrong_file_are_found_out() -> None:
    segments = (inline_segment(b"a"), inline_segment(b"b"))
    reader = ContentReader(LogReader(MemoryStore(), "f"))
    with pytest.raises(CheckpointCorrupt, match=r"results\.jsonl in memory://run has 2 bytes"):
        reader.content(version_of(b"ba", *segments), what="results.jsonl")


def test_what_cannot_be_read_is_not_corrupt() -> None:
    store = MemoryStore()
    segment = store_blob(store, b"content", nonce=lambda: "n")
    store.fault = lambda call, key: "lost"
    with pytest.raises(Unreachable):
        ContentReader(LogReader(store, "f")).content(version_of(b"content", segment), what="x")


class Slow(MemoryStore):
    """Answers reads once `at_once` of them have come; notes how much was asked for at once."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self._at_once = at_once
        self._change = threading.Condition()
        self._reads: list[int] = []
        self.most_calls = 0
        self.most_bytes = 0

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        with self._change:
            self._reads.append(len(self.objects[key]))
            self.most_calls = max(self.most_calls, len(self._reads))
            self.most_bytes = max(self.most_bytes, sum(self._reads))
            self._change.notify_all()
            self._change.wait_for(lambda: self.most_calls >= self._at_once, timeout=10)
            self._reads.remove(len(self.objects[key]))
        return super().get(key, start=start, end=end)


def stored_files(store: MemoryStore, folder: Path, sizes: list[int]) -> list[tuple[FileVersion, Path]]:
    files = []
    for number, size in enumerate(sizes):
        data = bytes([number]) * size
        files.append((version_of(data, store_blob(store, data, nonce=lambda: "n")), folder / f"{number}.bin"))
    return files


def test_pieces_of_many_files_are_fetched_at_once(tmp_path: Path) -> None:
    store = Slow(at_once=16)
    files = stored_files(store, tmp_path, [100] * 40)
    reader = ContentReader(LogReader(store, "f"))
    written: list[int] = []
    done: list[Path] = []
    reader.write_files(files, staged=tmp_path / "staged", wrote=written.append, done=done.append)
    assert store.most_calls == 16
    assert done == [target for _, target in files]
    assert sum(written) == 4000
    for number, (_, target) in enumerate(files):
        assert target.read_bytes() == bytes([number]) * 100


def test_large_pieces_are_fetched_within_the_bound_on_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "AHEAD_BYTES", 4_000)
    store = Slow(at_once=4)
    files = stored_files(store, tmp_path, [1_000] * 20)
    ContentReader(LogReader(store, "f")).write_files(files, staged=tmp_path / "staged")
    assert (store.most_calls, store.most_bytes) == (4, 4_000)
    assert sum(target.stat().st_size for _, target in files) == 20_000


def test_a_piece_larger_than_the_bound_comes_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "AHEAD_BYTES", 10)
    store = Slow(at_once=1)
    files = stored_files(store, tmp_path, [100, 100, 0, 100])
    ContentReader(LogReader(store, "f")).write_files(files, staged=tmp_path / "staged")
    assert store.most_calls == 1
    assert [target.stat().st_size for _, target in files] == [100, 100, 0, 100]


def test_files_before_the_damaged_one_are_whole_and_none_after_it_is_there(tmp_path: Path) -> None:
    store = MemoryStore()
    files = stored_files(store, tmp_path, [100] * 30)
    (segment,) = files[20][0].segments
    assert segment.blob is not None
    del store.objects[segment.blob]
    done: list[Path] = []
    with pytest.raises(CheckpointCorrupt, match="is missing"):
        ContentReader(LogReader(store, "f")).write_files(files, staged=tmp_path / "staged", done=done.append)
    assert done == [target for _, target in files[:20]]
    assert sorted(path.name for path in tmp_path.glob("*.bin")) == sorted(target.name for target in done)


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(0, 0o777), st.integers(0, 100))
def test_a_generation_comes_back_from_its_entry(pieces: list[bytes], mode: int, items: int) -> None:
    data = b"".join(pieces)
    segments = tuple(inline_segment(piece) for piece in pieces)
    file = FileVersion(size=len(data), sha256=hashlib.sha256(data).hexdigest(), mode=mode, segments=segments)
    generation = Generation(files={"deep/é.bin": file}, items_done=items, progress=("deep/é.bin",))
    assert parsed_generation(generation.to_body(), where="") == generation


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".sweep/items.jsonl", "", ".", "a//b", "a/"])
def test_a_path_out_of_the_snapshot_directory_is_refused(path: str) -> None:
    body = Generation(files={path: version_of(b"")}, items_done=0).to_body()
    with pytest.raises(CheckpointCorrupt, match="entry 5 holds no generation"):
        parsed_generation(body, where="entry 5")
