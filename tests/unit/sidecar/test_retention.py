"""Retention, held against what the same run restores to without it."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resumable_sweep.contract.outcome import Exit
from sweep_sidecar import layout
from sweep_sidecar.housekeeping import merge
from sweep_sidecar.inspection.restoring import restore_to
from sweep_sidecar.inspection.runs import Run, RunNotFound, runs_below
from sweep_sidecar.inspection.verifying import verify_run
from sweep_sidecar.log.entry import Kind, Writer
from sweep_sidecar.log.fencing import Superseded
from sweep_sidecar.log.shard_log import LogReader, ShardLog
from sweep_sidecar.retention import LogMoved, Rule, planned_sweep, swept
from sweep_sidecar.retirement import PREFIX
from sweep_sidecar.settings import RunSettings
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore
from unit.sidecar.run_on_disk import HEADER, WRITTEN_AT, RunOnDisk, done, files_in

SEED = 3
DAY_S = 86400.0
MUCH_LATER = WRITTEN_AT + 30 * DAY_S
RULE = Rule(keep=2, age_s=7 * DAY_S)


def big(number: int) -> bytes:
    """Return bytes that are too many to travel in an entry."""
    return number.to_bytes(4, "big") * 20_000


def generations(chance: random.Random, *, shard: int, count: int, start: int = 0) -> list[dict[str, str | bytes]]:
    """Return growing results, and models out of few: older ones come back, and shards have them in common."""
    found: list[dict[str, str | bytes]] = []
    for number in range(start, start + count):
        log = HEADER + "".join(done(f"{shard}-{key}", key) for key in range(number + 1))
        found.append({"results.jsonl": log, "model.bin": big(chance.randrange(6))})
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of many generations, the first one's in two attempts: written once, with all its syncs."""
    folder = tmp_path_factory.mktemp("written")
    chance = random.Random(SEED)
    run = RunOnDisk(folder, shards=2)
    seqs = run.attempt(0, generations(chance, shard=0, count=6), end=None)
    run.attempt(0, generations(chance, shard=0, count=5, start=6), attempt=1, base=seqs[-1])
    run.attempt(1, generations(chance, shard=1, count=7))
    run.store.create(f"blobs/{'0' * 64}.x", b"sent, and never published")
    return folder


@pytest.fixture
def run(written: Path, tmp_path: Path) -> RunOnDisk:
    """A copy of that run."""
    shutil.copytree(written / "store", tmp_path / "store")
    return RunOnDisk(tmp_path, shards=2)


def in_memory(run: RunOnDisk) -> MemoryStore:
    return MemoryStore(run.objects())


def found_in(store: MemoryStore) -> Run:
    (found,) = runs_below("memory://run", open=lambda _: store)
    return found


def sweep(store: MemoryStore, rule: Rule = RULE) -> str:
    found = found_in(store)
    planned = planned_sweep(found, rule, now=MUCH_LATER)
    if not planned.left_alone:
        swept(found, planned, rule, now=MUCH_LATER)
    return planned.left_alone


def newest(store: MemoryStore, shard: int, keep: int) -> list[int]:
    log = LogReader(store, layout.shard_folder("run", shard))
    return [seq for seq in log.slots() if log.read(seq).entry.kind is Kind.GEN][:keep]


def restored(
    store: MemoryStore, folder: Path, *, seqs: dict[int, list[int]]
) -> dict[tuple[int, int], dict[str, bytes]]:
    """Return what each of these generations restores to."""
    files = {}
    for shard, of_shard in seqs.items():
        for seq in of_shard:
            target = folder / f"{shard}-{seq}"
            restore_to(found_in(store), shard, target, seq=seq)
            files[shard, seq] = files_in(target)
    return files


def is_sound(store: MemoryStore) -> bool:
    return verify_run(found_in(store), deep=True).findings == []


def test_what_is_kept_restores_as_without_it_and_the_rest_is_gone(run: RunOnDisk, tmp_path: Path) -> None:
    store = in_memory(run)
    kept = {shard: newest(store, shard, RULE.keep) for shard in (0, 1)}
    expected = restored(store, tmp_path / "before", seqs=kept)
    merged = merge(store, RunSettings(store_url="", run_id="run", shards=2, items_sha256=""))
    assert sweep(store) == ""
    assert is_sound(store)
    assert restored(store, tmp_path / "after", seqs=kept) == expected
    assert merge(store, RunSettings(store_url="", run_id="run", shards=2, items_sha256="")) == merged
    assert verify_run(found_in(store), deep=False).unreferenced == 0
    models = {files["model.bin"] for files in expected.values()}
    assert {data for key, data in store.objects.items() if key.startswith("blobs/")} == models
    after = dict(store.objects)
    assert sweep(store) == ""
    assert store.objects == after


def test_only_generations_leave_the_log_and_only_those_whose_pieces_nobody_needs(run: RunOnDisk) -> None:
    store = in_memory(run)
    before = {key: json.loads(data) for key, data in store.objects.items() if "/log/" in key}
    sweep(store)
    gone = [entry for key, entry in before.items() if key not in store.objects]
    assert gone
    assert {entry["kind"] for entry in gone} == {"gen"}
    # Kept generations have pieces in older entries: those stay, and are no generations any more.
    retired = [json.loads(data)["shards"] for key, data in store.objects.items() if key.startswith(PREFIX)]
    numbers = sum(last - first + 1 for one in retired for rows in one.values() for first, last in rows)
    assert numbers == 6 + 5 + 7 - 2 * RULE.keep
    assert len(gone) < numbers


def test_cut_off_anywhere_it_leaves_a_sound_run_and_the_next_one_ends_it(run: RunOnDisk, tmp_path: Path) -> None:
    plain = in_memory(run)
    kept = {shard: newest(plain, shard, RULE.keep) for shard in (0, 1)}
    expected = restored(plain, tmp_path / "before", seqs=kept)
    sweep(plain)

    def fails_at(store: MemoryStore, number: int, how: str) -> bool:
        calls = 0

        def fault(call: str, key: str) -> str | None:
            nonlocal calls
            calls += call in ("create", "delete")
            return how if calls >= number and call in ("create", "delete") else None

        store.fault = fault
        try:
            sweep(store)
        except Unreachable:
            return True
        finally:
            store.fault = lambda call, key: None
        return False

    number = 1
    for how in ("lost", "unanswered"):
        number = 1
        while fails_at(store := in_memory(run), number, how):
            assert is_sound(store), (number, how)
            files = restored(store, tmp_path / f"{how}-{number}", seqs=kept)
            assert files == expected, (number, how)
            sweep(store)
            kept_keys = {key for key in store.objects if not key.startswith(PREFIX)}
            assert kept_keys == {key for key in plain.objects if not key.startswith(PREFIX)}, (number, how)
            number += 1
    assert number > 10


def test_a_dry_run_changes_nothing_and_says_what_would_go(run: RunOnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.objects()
    assert run.command("gc", run.top, "--dry-run", "--keep", "2", "--json", at=MUCH_LATER) == 0
    (would,) = json.loads(capsys.readouterr().out)
    assert run.objects() == before
    assert run.command("gc", run.top, "--keep", "2", "--json", at=MUCH_LATER) == 0
    (did,) = json.loads(capsys.readouterr().out)
    assert did == would | {"dry_run": False}
    gone = before.keys() - run.objects().keys()
    assert len(gone) == sum(map(len, did["entries"].values())) + len(did["blobs"])
    assert did["size_bytes"] == sum(len(before[key]) for key in gone)
    assert run.command("verify", run.url, "--deep") == 0


@pytest.mark.parametrize("end", [None, Kind.SEAL, Kind.TAKE], ids=["gen", "seal", "has not begun"])
def test_a_run_in_which_an_attempt_may_write_loses_old_blobs_alone(
    end: Kind | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    run = RunOnDisk(tmp_path, shards=2)
    run.attempt(0, generations(chance, shard=0, count=4))
    if end is not Kind.TAKE:
        run.attempt(1, generations(chance, shard=1, count=4), end=end)
    before = run.objects()
    assert run.command("gc", run.url, "--keep", "1", "--older-than", "2h", at=MUCH_LATER) == 0
    assert "--older-than 24h at least, or --stopped says that none does" in capsys.readouterr().out
    assert run.objects() == before
    unneeded = run.root / f"blobs/{'0' * 64}.x"
    young = unneeded.with_suffix(".y")
    for blob in (unneeded, young):
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(b"sent, and never published")
    os.utime(unneeded, (0, 0))
    assert run.command("gc", run.url, "--keep", "1", "--dry-run", at=time.time()) == 0
    assert "would be deleted" in capsys.readouterr().out
    assert unneeded.exists()
    assert run.command("gc", run.url, "--keep", "1", at=MUCH_LATER) == 0
    assert young.read_bytes()
    young.unlink()
    after = {key: data for key, data in run.objects().items() if not key.startswith(PREFIX)}
    assert after == before
    assert run.command("verify", run.url, "--deep") == 0
    assert run.command("gc", run.url, "--keep", "1", "--stopped", at=MUCH_LATER) == 0
    assert before.keys() - run.objects().keys()
    assert run.command("verify", run.url, "--deep") == 0
    if end is not None and end is not Kind.TAKE:
        # It may go on after all.
        last = newest(in_memory(run), 1, 1)
        run.attempt(1, generations(chance, shard=1, count=2, start=4), attempt=1, base=last[0])
        assert run.command("verify", run.url, "--deep") == 0


def test_a_run_that_was_written_to_lately_is_left_alone(run: RunOnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.objects()
    for words in ((), ("--stopped",)):
        assert run.command("gc", run.url, "--keep", "1", *words, at=WRITTEN_AT + 3 * DAY_S) == 0
        assert "its newest entry is 72.0 hours old" in capsys.readouterr().out
    assert run.objects() == before
    assert run.command("gc", run.url, "--keep", "1", "--older-than", "2d", at=WRITTEN_AT + 3 * DAY_S) == 0
    assert len(run.objects()) < len(before)


def test_a_damaged_generation_does_not_count_as_kept(run: RunOnDisk, tmp_path: Path) -> None:
    store = in_memory(run)
    (last, *older) = newest(store, 1, 7)
    blob = blobs_of(store, 1, last)
    # The newest one that has another model: what a restore falls back to.
    whole = next(seq for seq in older if blobs_of(store, 1, seq) != blob)
    expected = restored(store, tmp_path / "before", seqs={1: [whole]})
    (key,) = blob
    store.objects[key] = store.objects[key][:-1] + b"!"
    assert sweep(store, Rule(keep=1, age_s=0)) == ""
    assert restored(store, tmp_path / "after", seqs={1: [whole]}) == expected


def blobs_of(store: MemoryStore, shard: int, seq: int) -> set[str]:
    body = LogReader(store, layout.shard_folder("run", shard)).read(seq).entry.body
    return {piece["blob"] for file in body["files"].values() for piece in file["segments"] if "blob" in piece}


def test_where_no_generation_is_whole_all_stay(run: RunOnDisk) -> None:
    store = in_memory(run)
    for key in store.objects:
        if key.startswith("blobs/"):
            store.objects[key] = b"rotten"
    logs = {key for key in store.objects if "/log/" in key}
    sweep(store, Rule(keep=1, age_s=0))
    assert {key for key in store.objects if "/log/" in key} == logs


def test_a_damaged_log_is_left_alone(run: RunOnDisk) -> None:
    store = in_memory(run)
    key = layout.entry_key(layout.shard_folder("run", 0), 3)
    store.objects[key] = store.objects[key].replace(b"gen", b"gem")
    before = dict(store.objects)
    assert sweep(store) == "entry 3 of shard 0 is damaged: see `verify`"
    assert store.objects == before


def test_a_log_with_a_gap_that_no_sweep_has_made_is_left_alone(run: RunOnDisk) -> None:
    store = in_memory(run)
    sweep(store, Rule(keep=3, age_s=0))
    del store.objects[layout.entry_key(layout.shard_folder("run", 0), 1)]
    before = dict(store.objects)
    assert sweep(store, Rule(keep=1, age_s=0)) == "entry 1 of shard 0 is missing: see `verify`"
    assert store.objects == before


def test_what_is_wrong_with_one_run_keeps_no_other_from_being_swept(
    run: RunOnDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = run.root.with_name("a-run")
    twin.mkdir()
    first = next(run.root.glob("*-shard-00000"))
    (twin / layout.shard_folder("a-run", 0) / "log").mkdir(parents=True)
    (twin / "retired").mkdir()
    (twin / "retired" / f"{'0' * 64}.json").write_text("{}")
    entry = next((first / "log").glob("999999999999.json"))
    shutil.copy(entry, twin / layout.shard_folder("a-run", 0) / "log" / entry.name)
    assert run.command("gc", run.top, "--keep", "1", "--stopped", at=MUCH_LATER) == Exit.CHECKPOINT_CORRUPT
    printed = capsys.readouterr()
    _, of_twin, of_run = printed.out.splitlines()
    assert "left alone: " in of_twin
    assert of_run.endswith("deleted")
    assert "holds something else than its name says" in printed.err


@pytest.mark.parametrize("moment", ["list", "create", "delete"])
def test_it_stops_where_somebody_writes(run: RunOnDisk, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep_sidecar.retention._DELETED_AT_ONCE", 1)
    store = in_memory(run)
    # A shard whose attempt was thought dead, and is not.
    folder = layout.shard_folder("run", 1)
    head = LogReader(store, folder).head()
    assert head is not None
    del store.objects[layout.entry_key(folder, head.entry.seq)]
    found, rule = found_in(store), Rule(keep=2, age_s=0, stopped=True)
    planned = planned_sweep(found, rule, now=MUCH_LATER)
    assert len(planned.blobs) > 1
    log = ShardLog(MemoryStore(store.objects), folder, writer=Writer(1, "new", "n"), clock=lambda: MUCH_LATER)
    wrote = False

    def fault(call: str, key: str) -> Callable[[], None] | None:
        nonlocal wrote
        if wrote or call != moment:
            return None
        wrote = True
        return lambda: log.take({}) and None

    store.fault = fault
    with pytest.raises(LogMoved, match="was written while the run was swept: a pod is alive"):
        swept(found, planned, rule, now=MUCH_LATER)
    store.fault = lambda call, key: None
    assert set(planned.blobs) & store.objects.keys()
    assert is_sound(store)


def test_an_attempt_that_was_cut_off_stays_shut_out(run: RunOnDisk) -> None:
    store = in_memory(run)
    folder = layout.shard_folder("run", 0)
    log = LogReader(store, folder)
    takes = [seq for seq in log.slots() if log.read(seq).entry.kind is Kind.TAKE]
    last_of_first = log.read(max(takes) - 1)
    zombie = ShardLog(store, folder, writer=Writer(0, "pod-0-0", "n"), clock=lambda: WRITTEN_AT)
    zombie.follow(last_of_first)
    sweep(store, Rule(keep=1, age_s=0))
    assert layout.entry_key(folder, last_of_first.entry.seq) not in store.objects
    before = dict(store.objects)
    with pytest.raises(Superseded):
        zombie.append(Kind.GEN, {"files": {}, "items_done": 0, "progress": []})
    assert store.objects == before


def test_without_the_right_to_delete_it_fails_and_all_is_well(run: RunOnDisk) -> None:
    store = in_memory(run)
    store.fault = lambda call, key: "lost" if call == "delete" else None
    with pytest.raises(Unreachable):
        sweep(store)
    assert is_sound(store)


def test_a_generation_that_is_gone_is_not_restored(
    run: RunOnDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = in_memory(run)
    before = newest(store, 0, 11)
    sweep(store)
    gone = set(before) - set(newest(store, 0, 11))
    with pytest.raises(RunNotFound, match="has no entry"):
        restore_to(found_in(store), 0, tmp_path / "target", seq=max(gone))
    assert run.command("gc", run.url, "--keep", "2", at=MUCH_LATER) == 0
    capsys.readouterr()
    assert run.command("log", run.url, "--shard", "0") == 0
    assert "retired" in capsys.readouterr().out


def test_a_record_of_what_is_gone_that_was_changed_is_found(run: RunOnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.command("gc", run.url, "--keep", "2", at=MUCH_LATER) == 0
    (record,) = (run.root / "retired").iterdir()
    record.write_bytes(record.read_bytes().replace(b'"keep":2', b'"keep":3'))
    capsys.readouterr()
    assert run.command("verify", run.url) == 1
    assert "holds something else than its name says" in capsys.readouterr().out
    assert run.command("gc", run.url, "--keep", "1", at=MUCH_LATER) == Exit.CHECKPOINT_CORRUPT


def test_a_keep_of_nothing_and_a_span_of_no_unit_are_refused(
    run: RunOnDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in ((("--keep", "0"), "a whole number of 1 or more"), (("--older-than", "7"), "after it: 12h")):
        with pytest.raises(SystemExit, match="2"):
            run.command("gc", run.url, *words)
        assert message in capsys.readouterr().err
