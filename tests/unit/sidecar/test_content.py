from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize(("away", "comes"), [(2, True), (3, False)])
def test_a_read_without_an_answer_is_tried_again(away: int, comes: bool) -> None:
    store = MemoryStore()
    segment = store_blob(store, b"content", nonce=lambda: "n")
    faults = iter(["lost"] * away)
    store.fault = lambda call, key: next(faults, None)
    reader = ContentReader(LogReader(store, "f"), pauses_s=(0.0, 0.0))
    if comes:
        assert reader.content(version_of(b"content", segment), what="x") == b"content"
    else:
        with pytest.raises(Unreachable):
            reader.content(version_of(b"content", segment), what="x")


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
