from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_sweep._state_files import finish_interrupted, manifest_of
from resumable_sweep.contract.manifest import manifest_path, parsed_manifest, pending_path
from sweep_sidecar.capture.capturer import Look
from sweep_sidecar.capture.steady import SENT_AT_ONCE
from sweep_sidecar.content import BLOB_BYTES, ContentReader
from sweep_sidecar.log.generation import parsed_generation
from sweep_sidecar.store import Unreachable
from unit.sidecar.captured_shard import HEADER, Shard, keys, line


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return Shard(tmp_path / "snapshot")


def test_a_log_is_cut_at_its_last_whole_line(shard: Shard) -> None:
    shard.write("results.jsonl", HEADER + line(1) + line(2)[:-5])
    look = shard.capturer.look()
    shard.publish(look)
    assert shard.stored() == {"results.jsonl": HEADER + line(1)}
    assert look.counted.keys == keys(1)
    assert look.progress == ("results.jsonl",)


@pytest.mark.parametrize("before", [b"", HEADER[:-9]], ids=["empty", "a torn header"])
def test_a_log_that_was_seen_before_its_first_line_is_counted(shard: Shard, before: bytes) -> None:
    shard.append("results.jsonl", before)
    shard.publish(shard.capturer.look())
    shard.append("results.jsonl", (HEADER + line(1))[len(before) :])
    look = shard.capturer.look()
    assert look.counted.keys == keys(1)
    assert look.progress == ("results.jsonl",)


def test_only_what_was_added_to_a_log_is_sent(shard: Shard) -> None:
    shard.write("results.jsonl", HEADER + line(0, "x" * 50_000))
    shard.publish(shard.capturer.look())
    shard.append("results.jsonl", line(1))
    look = shard.capturer.look()
    pieces = look.files["results.jsonl"].segments
    assert [piece.seq for piece in pieces] == [2, None]
    assert pieces[1].inline == line(1)
    shard.publish(look)
    assert shard.stored()["results.jsonl"] == HEADER + line(0, "x" * 50_000) + line(1)
    assert shard.blobs == []


def test_one_write_to_the_store_is_a_generation_where_little_was_added(shard: Shard) -> None:
    shard.write("results.jsonl", HEADER)
    shard.publish(shard.capturer.look())
    shard.append("results.jsonl", line(1))
    before = len(shard.store.calls)
    shard.publish(shard.capturer.look())
    assert [call for call, _ in shard.store.calls[before:]] == ["create"]


def test_a_long_tail_goes_into_blobs(shard: Shard) -> None:
    shard.write("results.jsonl", HEADER + line(0, "x" * (BLOB_BYTES + 70_000)))
    look = shard.capturer.look()
    shard.publish(look)
    assert shard.blobs == [BLOB_BYTES, look.files["results.jsonl"].size - BLOB_BYTES]
    assert look.counted.keys == keys(0)
    assert shard.stored()["results.jsonl"] == (shard.root / "results.jsonl").read_bytes()


def test_entries_stay_small_however_many_files_there_are(shard: Shard) -> None:
    for number in range(5):
        shard.write(f"state-{number}", bytes([number]) * 30_000)
    look = shard.capturer.look()
    assert shard.blobs == [30_000] * 3
    shard.publish(look)
    assert shard.stored() == {f"state-{number}": bytes([number]) * 30_000 for number in range(5)}


@pytest.mark.parametrize("replaced", [True, False])
def test_a_log_that_was_rewritten_is_taken_whole(shard: Shard, replaced: bool) -> None:
    shard.write("results.jsonl", HEADER + line(1, "old"))
    shard.publish(shard.capturer.look())
    changed = HEADER + line(1, "new") + line(2)
    if replaced:
        shard.write("results.jsonl", changed)
    else:
        (shard.root / "results.jsonl").write_bytes(changed)
    look = shard.capturer.look()
    shard.publish(look)
    assert shard.stored()["results.jsonl"] == changed
    assert look.counted.keys == keys(1, 2)


def test_the_last_look_finds_what_was_changed_far_before_the_end(shard: Shard) -> None:
    padding = b"".join(line("pad", "x" * 1000) for _ in range(100))
    shard.write("results.jsonl", HEADER + line(1, "old") + padding)
    shard.publish(shard.capturer.look())
    with (shard.root / "results.jsonl").open("r+b") as file:
        file.seek(len(HEADER))
        file.write(line(1, "new"))
        file.seek(0, os.SEEK_END)
        file.write(line(2))
    shard.publish(shard.capturer.look(last=True))
    assert shard.stored()["results.jsonl"] == HEADER + line(1, "new") + padding + line(2)


def test_nothing_new_is_the_same_look(shard: Shard) -> None:
    shard.write("results.jsonl", HEADER + line(1))
    shard.write_pair("state.bin", b"x" * 100_000)
    first = shard.capturer.look()
    shard.publish(first)
    calls = len(shard.store.calls)
    second = shard.capturer.look()
    assert len(shard.store.calls) == calls
    assert all(version.same_content(first.files[path]) for path, version in second.files.items())


def test_a_pair_is_taken_only_when_it_fits(shard: Shard) -> None:
    shard.write_pair("state.bin", b"old")
    shard.publish(shard.capturer.look())
    manifest = manifest_path(shard.root / "state.bin").read_bytes()
    shard.write("state.bin", b"new")  # its writer has not come to the manifest yet
    shard.publish(shard.capturer.look())
    assert shard.stored() == {"state.bin": b"old", "state.bin.manifest.json": manifest}
    shard.write_pair("state.bin", b"new")
    shard.publish(shard.capturer.look())
    assert shard.stored()["state.bin"] == b"new"


@pytest.mark.parametrize("path", ["state", "state/weights"], ids=["a file", "a folder"])
def test_a_checkpoint_whose_manifest_is_on_its_way_waits_for_it(shard: Shard, path: str) -> None:
    # As the library saves one for the first time: the data takes its place before its manifest does.
    shard.write(".state.manifest.json.tmp.pending", b"")
    shard.write(path, b"of step 1")
    assert shard.capturer.look().files == {}
    target = shard.root / "state"
    manifest = manifest_of(target, {}).to_json()
    (shard.root / ".state.manifest.json.tmp.pending").write_text(manifest)
    (shard.root / ".state.manifest.json.tmp.pending").rename(shard.root / "state.manifest.json")
    shard.publish(shard.capturer.look())
    assert shard.stored() == {path: b"of step 1", "state.manifest.json": manifest.encode()}


@pytest.mark.parametrize("is_first", [True, False], ids=["the first", "another"])
@pytest.mark.parametrize("path", ["state", "deep/state", "state/weights"], ids=["a file", "a deep file", "a folder"])
def test_a_program_killed_between_its_two_renames_has_saved(shard: Shard, path: str, is_first: bool) -> None:
    target = shard.root / path.removesuffix("/weights")
    manifest = manifest_path(target)
    if not is_first:
        shard.write(path, b"of step 1")
        manifest.write_text(manifest_of(target, {}).to_json())
        shard.publish(shard.capturer.look())
    before = None if is_first else shard.stored()
    shard.write(path, b"of step 2")
    pending_path(target).write_text(manifest_of(target, {}).to_json())
    assert shard.capturer.look().files.keys() == (before or {}).keys()  # the manifest may still get its name
    look = shard.capturer.look(last=True)
    assert look.unsettled is None
    shard.publish(look)
    # As the library finds it when it is started again on the same node.
    finish_interrupted(target)
    assert shard.stored() == {
        path: b"of step 2",
        manifest.relative_to(shard.root).as_posix(): manifest.read_bytes(),
    }


def test_a_manifest_that_waits_for_other_data_vouches_for_nothing(shard: Shard) -> None:
    shard.write_pair("state", b"of step 1")
    shard.publish(shard.capturer.look())
    before = shard.stored()
    shard.write("state", b"of step 2")
    manifest = manifest_of(shard.root / "state", {})
    pending_path(shard.root / "state").write_text(manifest.to_json())
    shard.write("state", b"of step 3")
    look = shard.capturer.look(last=True)
    assert look.unsettled is not None
    assert "state is not what state.manifest.json says it is" in look.unsettled.message
    shard.publish(look)
    assert shard.stored() == before


def test_a_link_in_the_place_of_a_manifest_that_waits_vouches_for_nothing(shard: Shard, tmp_path: Path) -> None:
    shard.write("state", b"data")
    (tmp_path / "elsewhere").write_text(manifest_of(shard.root / "state", {}).to_json())
    pending_path(shard.root / "state").symlink_to(tmp_path / "elsewhere")
    look = shard.capturer.look(last=True)
    assert (look.files, look.is_torn) == ({}, False)
    assert look.unsettled is not None


def test_a_pair_that_never_fits_is_a_problem_in_the_end(shard: Shard) -> None:
    shard.write("state.bin", b"x")
    shard.write("state.bin.manifest.json", b"{}")
    looks = [shard.capturer.look() for _ in range(5)]
    assert [look.unsettled is None for look in looks] == [True] * 4 + [False]
    problem = looks[-1].unsettled
    assert problem is not None
    assert problem.reason == "CheckpointUnstable"
    assert "state.bin is not whole" in problem.message


def test_the_last_look_says_at_once_what_is_not_whole(shard: Shard) -> None:
    shard.write("state.bin", b"x")
    shard.write("state.bin.manifest.json", b"torn")
    assert shard.capturer.look().unsettled is None
    assert shard.capturer.look(last=True).unsettled is not None


def test_progress_of_mime_engine_waits_for_its_manifest_and_is_counted(shard: Shard) -> None:
    records = {"completed": [{"key": 1, "result": 2.5}, {"key": "a", "result": None}]}
    shard.write("exp.h5.progress.json", json.dumps(records).encode())
    assert shard.capturer.look().files == {}
    shard.write_pair("exp.h5.progress.json", json.dumps(records).encode())
    look = shard.capturer.look()
    assert set(look.files) == {"exp.h5.progress.json", "exp.h5.progress.json.manifest.json"}
    assert look.counted.keys == keys(1, "a")
    assert look.progress == ("exp.h5.progress.json",)


def test_a_logs_manifest_is_a_file_like_others_and_never_ahead_of_its_log(shard: Shard) -> None:
    shard.write_pair("results.jsonl", HEADER + line(1))
    shard.append("results.jsonl", line(2))
    look = shard.capturer.look()
    assert set(look.files) == {"results.jsonl", "results.jsonl.manifest.json"}
    assert look.unsettled is None
    assert look.counted.keys == keys(1, 2)


def test_temporary_and_private_files_are_left_out(shard: Shard) -> None:
    for path in [".sweep/items.jsonl", "a.tmp", "b.lock", ".c.tmp", ".tmpx1", "deep/.d.txt.aB3dE_", "deep/e.tmp"]:
        target = shard.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x")
    shard.write("deep/.hidden", b"mine")
    shard.write("deep/er/kept.bin", b"")
    assert set(shard.capturer.look().files) == {"deep/.hidden", "deep/er/kept.bin"}


def test_what_was_removed_is_in_no_later_look(shard: Shard) -> None:
    shard.write("a", b"1")
    shard.write("b", b"2")
    shard.publish(shard.capturer.look())
    (shard.root / "a").unlink()
    assert set(shard.capturer.look().files) == {"b"}


def test_permission_bits_belong_to_the_content(shard: Shard) -> None:
    shard.write("run.sh", b"#!/bin/sh\n")
    first = shard.capturer.look().files["run.sh"]
    (shard.root / "run.sh").chmod(0o755)
    second = shard.capturer.look().files["run.sh"]
    assert (first.mode & 0o111, second.mode) == (0, 0o755)
    assert not second.same_content(first)


def test_a_file_that_may_not_be_read_keeps_the_whole_look_back(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    shard.write("results.jsonl", HEADER + line(1))
    shard.publish(shard.capturer.look())
    shard.append("results.jsonl", line(2))
    shard.write("secret", b"x")
    (shard.root / "secret").chmod(0o600)
    opened = os.open

    def refusing(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "secret":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refusing)
    look = shard.capturer.look()
    assert look.refusal is not None
    assert look.refusal.reason == "CheckpointUnreadable"
    assert f"secret ([Errno 13] Permission denied; mode 0600, owned by user {os.getuid()}" in look.refusal.message
    assert "set runAsUser" in look.refusal.message
    assert look.counted.keys == keys(1)


def test_a_log_with_a_broken_line_is_not_taken(shard: Shard) -> None:
    shard.write("results.jsonl", HEADER + line(1))
    shard.publish(shard.capturer.look())
    shard.append("results.jsonl", b"\x00\x00\x00\n")
    look = shard.capturer.look()
    assert look.refusal is not None
    assert look.refusal.reason == "CheckpointInvalid"


def test_a_file_written_to_while_it_is_read_is_taken_later(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    shard.write("state", b"x" * 200_000)
    shard.publish(shard.capturer.look())
    shard.write("state", b"y" * 200_000)
    fstat = os.fstat

    def fstat_and_write(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        shard.append("state", b"z")
        return status

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", fstat_and_write)
        shard.publish(shard.capturer.look())
    assert shard.stored()["state"] == b"x" * 200_000
    shard.publish(shard.capturer.look())
    assert shard.stored()["state"] == (shard.root / "state").read_bytes()


def test_a_look_cut_short_by_the_store_is_done_again(shard: Shard) -> None:
    shard.write("results.jsonl", HEADER + line(1))
    shard.write("big", b"x" * 100_000)
    shard.store.fault = lambda call, key: "lost" if key.startswith("blobs/") else None
    with pytest.raises(Unreachable):
        shard.capturer.look()
    shard.store.fault = lambda call, key: None
    shard.publish(shard.capturer.look())
    assert shard.stored() == {"results.jsonl": HEADER + line(1), "big": b"x" * 100_000}


def test_chunks_of_a_large_file_are_on_their_way_two_at_a_time_and_no_more(shard: Shard) -> None:
    both, under_way, most = threading.Barrier(SENT_AT_ONCE), [0], [0]
    counting = threading.Lock()

    def together(call: str, key: str) -> Callable[[], None] | None:
        def wait() -> None:
            with counting:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            both.wait(30)
            with counting:
                under_way[0] -= 1

        return wait if call == "create" and key.startswith("blobs/") else None

    chunks = [bytes([number]) * BLOB_BYTES for number in range(2 * SENT_AT_ONCE)]
    # One that comes twice is sent once.
    data = b"".join([*chunks, chunks[0]])
    shard.write("large.bin", data)
    shard.store.fault = together
    look = shard.capturer.look()
    shard.store.fault = lambda call, key: None
    assert most == [SENT_AT_ONCE]
    assert len(shard.blobs) == len(chunks)
    shard.publish(look)
    assert shard.stored()["large.bin"] == data


def test_nothing_is_under_way_any_more_when_a_look_was_cut_short(shard: Shard) -> None:
    first, fails, has_ended = iter([True]), threading.Event(), threading.Event()

    def hang() -> None:
        assert fails.wait(30)
        has_ended.set()

    def fault(call: str, key: str) -> str | Callable[[], None] | None:
        if call != "create" or not key.startswith("blobs/"):
            return None
        if next(first, False):
            return hang
        fails.set()
        return "lost"

    chunks = [bytes([number]) * BLOB_BYTES for number in range(8)]
    shard.write("large.bin", b"".join(chunks))
    shard.store.fault = fault
    with pytest.raises(Unreachable):
        shard.capturer.look()
    assert has_ended.is_set()
    assert len(shard.blobs) <= SENT_AT_ONCE + 1, "no more is sent where one has failed"
    shard.store.fault = lambda call, key: None
    shard.publish(shard.capturer.look())
    assert shard.stored()["large.bin"] == b"".join(chunks)


def test_blocks_of_a_large_file_that_did_not_change_are_not_sent_again(shard: Shard) -> None:
    shard.write("big", bytes(BLOB_BYTES) + b"a" * 100_000)
    shard.publish(shard.capturer.look())
    shard.blobs.clear()
    shard.write("big", bytes(BLOB_BYTES) + b"b" * 100_000)
    shard.publish(shard.capturer.look())
    assert shard.blobs == [100_000]
    assert shard.stored()["big"] == bytes(BLOB_BYTES) + b"b" * 100_000


@pytest.mark.parametrize("moved_on", [False, True])
def test_a_new_process_goes_on_from_what_is_published(shard: Shard, moved_on: bool) -> None:
    shard.write("results.jsonl", HEADER + line(1))
    shard.write_pair("x.progress.json", json.dumps({"completed": [{"key": "m", "result": 1}]}).encode())
    shard.publish(shard.capturer.look())
    if moved_on:
        shard.append("results.jsonl", line(2))
        shard.write_pair("x.progress.json", json.dumps({"completed": [{"key": k, "result": 1} for k in "mn"]}).encode())
    found = shard.log.newest_generation(shard.log.head())
    assert found is not None
    generation = parsed_generation(found.entry.body, where="").after_publishing(found.entry.seq)
    shard.capturer = shard.new_capturer()
    reader = ContentReader(shard.log)
    counted = shard.capturer.adopt(generation, read=lambda path, version: reader.content(version, what=path))
    assert counted.keys == keys(1, "m")
    look = shard.capturer.look()
    assert look.counted.keys == (keys(1, 2, "m", "n") if moved_on else keys(1, "m"))
    assert look.files["results.jsonl"].segments[0].seq == found.entry.seq
    shard.publish(look)
    assert shard.stored()["results.jsonl"] == HEADER + line(1) + (line(2) if moved_on else b"")


def test_what_is_written_without_a_pause_is_never_torn(shard: Shard) -> None:
    """A program like mime-engine replaces data and manifest one after the other, and a log grows beside them."""
    ended = threading.Event()
    shard.write("results.jsonl", HEADER)

    def write_on() -> None:
        records: list[dict[str, object]] = []
        while not ended.is_set():
            records.append({"key": len(records), "result": "x" * 100})
            shard.write_pair("exp.progress.json", json.dumps({"completed": records}).encode())
            entry = line(len(records))
            shard.append("results.jsonl", entry[:7])
            shard.append("results.jsonl", entry[7:])

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        known: frozenset[str] = frozenset()
        grown = 0
        while grown < 20:
            look = shard.capturer.look()
            assert look.refusal is None
            assert look.counted.keys >= known
            grown += len(look.counted.keys) > len(known)
            known = look.counted.keys
            shard.publish(look)
            files = shard.stored()
            assert files["results.jsonl"].endswith(b"\n")
            for path in files:
                if path == "exp.progress.json":
                    manifest = parsed_manifest(files[path + ".manifest.json"])
                    assert manifest.sha256 == hashlib.sha256(files[path]).hexdigest()
    finally:
        ended.set()
        writer.join()
    last = shard.capturer.look(last=True)
    assert last.unsettled is None
    shard.publish(last)
    assert shard.stored()["exp.progress.json"] == (shard.root / "exp.progress.json").read_bytes()


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["append", "tear", "rewrite", "state", "look", "publish", "restart"]),
            st.integers(0, 4),
        ),
        max_size=25,
    )
)
def test_what_is_stored_is_always_what_was_there(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is appended, torn or rewritten between two looks, the newest generation is the directory at a look."""
    shard = Shard(tmp_path_factory.mktemp("shard") / "snapshot")
    shard.write("results.jsonl", HEADER)
    expected: dict[str, bytes] = {}
    looked: Look | None = None
    for number, (step, size) in enumerate(steps):
        if step == "append":
            shard.append("results.jsonl", b"\n" + line(number, "x" * 10**size))
        elif step == "tear":
            shard.append("results.jsonl", b" " * size)
        elif step == "rewrite":
            shard.write("results.jsonl", HEADER + line(number, "r" * size))
        elif step == "state":
            shard.write(f"state-{size}", bytes([number]) * 10**size)
        elif step in ("look", "publish"):
            looked = shard.capturer.look()
            files = {path.name: path.read_bytes() for path in shard.root.iterdir() if path.is_file()}
            log = files["results.jsonl"]
            expected = {**files, "results.jsonl": log[: log.rfind(b"\n") + 1]}
            assert {path: version.size for path, version in looked.files.items()} == {
                path: len(data) for path, data in expected.items()
            }
            if step == "publish":
                shard.publish(looked)
                assert shard.stored() == expected
        else:
            found = shard.log.newest_generation(shard.log.head())
            shard.capturer = shard.new_capturer()
            if found is not None:
                generation = parsed_generation(found.entry.body, where="").after_publishing(found.entry.seq)
                reader = ContentReader(shard.log)

                def read(path: str, version: object, reader: ContentReader = reader) -> bytes:
                    return reader.content(version, what=path)  # type: ignore[arg-type]

                shard.capturer.adopt(generation, read=read)


def test_links_to_files_of_the_directory_are_taken_as_copies_and_no_others(
    shard: Shard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard.write("steps/7.bin", b"seven")
    (tmp_path / "secret").write_bytes(b"not yours")
    links = {
        "last.bin": "steps/7.bin",
        "steps/last.bin": "7.bin",
        "steps/up.bin": "../steps/7.bin",
        "absolute.bin": str(shard.root / "steps/7.bin"),
        "out": "../secret",
        "far": str(tmp_path / "secret"),
        "folder": "steps",
        "nothing": "missing",
        "by a file": "steps/7.bin/missing",
        "words": "w" * 300,
        "inner": ".sweep/ack.json",
        "round": "round",
    }
    for path, target in links.items():
        (shard.root / path).symlink_to(target)
    os.mkfifo(shard.root / "pipe")
    for _ in range(2):
        shard.publish(shard.capturer.look())
    taken = ("last.bin", "steps/last.bin", "steps/up.bin", "absolute.bin", "steps/7.bin")
    assert shard.stored() == dict.fromkeys(taken, b"seven")
    said = [record.getMessage().split(":")[0] for record in caplog.records if "not stored" in record.getMessage()]
    assert sorted(said) == [
        "by a file is a link to nothing",
        "far is a link to what is not stored",
        "folder is a link to no file",
        "inner is a link to what is not stored",
        "nothing is a link to nothing",
        "out is a link to what is not stored",
        "pipe is a pipe",
        "round is a link to no file",
        "words is a link to nothing",
    ]
    shard.write("steps/7.bin", b"eight")
    shard.publish(shard.capturer.look())
    assert shard.stored()["last.bin"] == b"eight"


@pytest.mark.parametrize("target", ["latest/best.bin", "./latest/best.bin", "steps/../latest/best.bin", "latest/../z"])
def test_a_link_by_way_of_a_link_to_a_folder_is_left_out_and_the_rest_is_stored(shard: Shard, target: str) -> None:
    shard.write("steps/7/best.bin", b"seven")
    shard.write("z", b"another")
    (shard.root / "latest").symlink_to("steps/7")
    (shard.root / "best.bin").symlink_to(target)
    look = shard.capturer.look()
    assert not look.is_torn
    shard.publish(look)
    assert shard.stored() == {"steps/7/best.bin": b"seven", "z": b"another"}


@pytest.mark.parametrize("swapped", ["folder", "file", "pipe"])
def test_no_link_is_followed_that_takes_a_files_place_after_the_scan(
    shard: Shard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/token").write_bytes(b"the sidecar's own")
    shard.write("inside/token", b"mine")
    opened = os.open

    def swap() -> None:
        if swapped == "folder":
            (shard.root / "inside").rename(shard.root / "former.tmp")
            (shard.root / "inside").symlink_to(tmp_path / "outside")
            return
        (shard.root / "inside/token").unlink()
        if swapped == "pipe":
            os.mkfifo(shard.root / "inside/token")
        else:
            (shard.root / "inside/token").symlink_to(tmp_path / "outside/token")

    def swapping(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        monkeypatch.undo()
        swap()
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapping)
    look = shard.capturer.look()
    assert not look.is_torn
    assert look.files == {}


def test_a_look_at_what_has_not_changed_opens_nothing(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    shard.write("results.jsonl", HEADER + line(1) + b"torn")
    shard.write("state", b"x")
    shard.write_pair("pair", b"x")
    shard.publish(shard.capturer.look())
    calls: list[object] = []
    monkeypatch.setattr(os, "open", lambda *arguments, **options: calls.append(arguments))
    assert len(shard.capturer.look().files) == 4
    assert calls == []


def test_a_log_that_grows_is_read_in_full_every_ten_minutes(tmp_path: Path) -> None:
    now_s = [0.0]
    shard = Shard(tmp_path / "snapshot", monotonic=lambda: now_s[0])
    padding = b"".join(line("pad", "x" * 1000) for _ in range(100))
    shard.write("results.jsonl", HEADER + line(1, "old") + padding)
    shard.publish(shard.capturer.look())
    with (shard.root / "results.jsonl").open("r+b") as file:
        file.seek(len(HEADER))
        file.write(line(1, "new"))
    for number, at_s in enumerate((599.0, 601.0)):
        shard.append("results.jsonl", line(2 + number))
        now_s[0] = at_s
        shard.publish(shard.capturer.look())
        assert (line(1, "old") in shard.stored()["results.jsonl"]) is (at_s < 600)
    assert shard.stored()["results.jsonl"] == (shard.root / "results.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("size_mib", "free_mib", "is_full"),
    [(10_000, 501, False), (10_000, 499, True), (500, 65, False), (500, 63, True), (100, 21, False), (100, 19, True)],
)
def test_a_volume_that_is_nearly_full_is_told_and_looked_at_all_the_same(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, size_mib: int, free_mib: int, is_full: bool
) -> None:
    room = os.statvfs_result((4096, 4096, size_mib * 256, free_mib * 256, free_mib * 256, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    shard.write("state", b"x")
    look = shard.capturer.look()
    assert set(look.files) == {"state"}
    assert look.refusal is look.unsettled is None
    assert (look.nearly_full is not None) is is_full
    if look.nearly_full:
        assert look.nearly_full.reason == "SnapshotVolumeNearlyFull"
        assert f"has {free_mib} MiB free of {size_mib} MiB" in look.nearly_full.message
