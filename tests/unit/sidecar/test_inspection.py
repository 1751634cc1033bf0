"""`ls`, `log`, `verify` and `restore`, on runs that were damaged in every way there is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep.contract.outcome import Exit
from sweep_sidecar import layout
from sweep_sidecar.log.entry import Entry, Kind, Writer
from sweep_sidecar.log.shard_log import LogReader
from unit.sidecar.pods import HEADER as LOG_HEADER
from unit.sidecar.pods import Cluster, line
from unit.sidecar.run_on_disk import HEADER, RunOnDisk, done, files_in

BIG = bytes(range(256)) * 400
"""Too large to travel in an entry."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shard 0: an attempt with two generations that was cut off, and one that came to its end with a third."""
    folder = tmp_path_factory.mktemp("written")
    run = RunOnDisk(folder)
    log = HEADER + done("a", 1)
    run.attempt(0, [{"results.jsonl": log, "big.bin": BIG}, {"results.jsonl": log + done("b", 2)}], end=None)
    run.attempt(0, [{"results.jsonl": log + done("b", 2) + done("c", 3), "deep/big.bin": BIG[::-1]}], attempt=1, base=3)
    return folder


@pytest.fixture
def run(written: Path, tmp_path: Path) -> RunOnDisk:
    """A copy of that run, with what its pods had on disk."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return RunOnDisk(tmp_path)


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_runs_are_found_from_any_level_above(
    run: RunOnDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (run.top, f"{run.top}/ns", f"{run.top}/ns/sweep/", run.url):
        assert run.command("ls", url, "--json") == 0
        (found,) = printed(capsys)
        assert (found["url"], found["run_id"], found["shards"], found["complete"]) == (run.url, "run", 1, 1)
        assert found["size_bytes"] == sum(map(len, run.objects().values()))
        (shard,) = found["shard_list"]
        assert (shard["state"], shard["attempt"], shard["generation"], shard["entries"]) == ("complete", 1, 6, 8)
    other = RunOnDisk(tmp_path / "other", shards=2, items=["a"])
    (run.root.parent / "other").mkdir()
    (other.root / "items.jsonl").rename(run.root.parent / "other" / "items.jsonl")
    assert run.command("ls", run.top, at=1000 + 90061) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["RUN", f"{run.top}/ns/sweep/other", run.url]
    assert rows[2].endswith("1d1h")
    assert run.command("log", run.top, "--shard", "0") == 66
    assert "2 runs lie in" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("ls",), ("verify",), ("log", "--shard", "0"), ("merge",), ("gc",)])
def test_where_there_is_no_run_it_is_said(
    words: tuple[str, ...], run: RunOnDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (f"file://{tmp_path}/nowhere", f"{run.url}/blobs"):
        assert run.command(words[0], url, *words[1:]) == 66
        assert f"no run lies in {url}" in capsys.readouterr().err


def test_what_is_typed_wrong_is_said(run: RunOnDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.command("ls", "ftp://x/y") == 2
    assert "use gs://BUCKET/FOLDER" in capsys.readouterr().err
    assert run.command("log", run.url, "--shard", "3") == 66
    assert "has no log of shard 3: it has those of 0" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run.command("log", run.url, "--shard", "-1")
    assert "must be a whole number of 0 or more" in capsys.readouterr().err


def test_a_log_can_be_followed(run: RunOnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.command("log", run.url, "--shard", "0", "--json") == 0
    rows = printed(capsys)
    assert [row["kind"] for row in rows] == ["take", "base", "gen", "gen", "take", "base", "gen", "complete"]
    assert [row["items_done"] for row in rows] == [None, None, 1, 2, None, None, 3, None]
    # The second generation sends what was added alone, and the blob not again.
    assert rows[2]["new_bytes"] == len(HEADER + done("a", 1)) + len(BIG)
    assert rows[3]["new_bytes"] == len(done("b", 2))
    assert rows[5]["note"] == "goes on from generation 3"
    assert run.command("log", run.url, "--shard", "0", "--last", "2") == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 3
    assert table[1].split()[:6] == ["6", "1970-01-01", "00:16:40Z", "1", "pod-0-1", "gen"]


def test_why_a_generation_was_passed_over_is_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = Cluster(tmp_path)
    writer = cluster.pod(0)
    cluster.append(0, LOG_HEADER + line(1))
    writer.look()
    cluster.append(0, BIG, "big.bin")
    writer.look()
    (blob,) = [key for key in cluster.objects if key.startswith("blobs/")]
    del cluster.objects[blob]
    cluster.restore(1)
    run = RunOnDisk(tmp_path)
    for key, data in cluster.objects.items():
        run.store.create(key, data)
    assert run.command("log", run.url, "--shard", "0") == 0
    assert "goes on from generation 2; passed over 3: " in capsys.readouterr().out


def test_nothing_is_wrong_with_a_run_that_was_not_touched(run: RunOnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.objects()
    for words in (("verify", run.url), ("verify", run.url, "--deep")):
        assert run.command(*words) == 0
        assert "8 entries" in (said := capsys.readouterr().out)
        assert "0 wrong" in said
    assert run.command("verify", run.url, "--json") == 0
    (found,) = printed(capsys)
    assert found["restores"] == {
        "0": "a restore takes generation 6 with 3 items; the shard is complete, nothing runs any more"
    }
    assert run.objects() == before


def lose(run: RunOnDisk, seq: int) -> None:
    run.entry(0, seq).unlink()


def garble(run: RunOnDisk, seq: int) -> None:
    data = bytearray(run.entry(0, seq).read_bytes())
    data[len(data) // 2] ^= 1
    run.entry(0, seq).write_bytes(data)


def rewrite(run: RunOnDisk, seq: int, kind: Kind, attempt: int) -> None:
    """Let another writer stand there, with an entry that is whole in itself."""
    log = LogReader(run.store, layout.shard_folder("run", 0))
    prev = log.read(seq - 1).sha256
    entry = Entry(seq=seq, kind=kind, writer=Writer(attempt, f"pod-0-{attempt}", "n"), prev_sha256=prev, time=0.0)
    run.entry(0, seq).write_bytes(entry.to_bytes())


def blob_holding(run: RunOnDisk, data: bytes) -> Path:
    (found,) = [path for path in run.blobs() if path.read_bytes() == data]
    return found


def write(data: bytes) -> Callable[[RunOnDisk], object]:
    return lambda run: blob_holding(run, BIG[::-1]).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "problem", "restores"),
    [
        (lambda run: lose(run, 1), "entry 1 is missing", "takes generation 6 with 3"),
        (lambda run: lose(run, 2), "lacks the inline piece", "takes generation 6"),
        (lambda run: garble(run, 6), "WRONG shard 0: entry 6: ", "goes back to generation 3 with 2"),
        (lambda run: garble(run, 7), "WRONG shard 0: entry 7: ", "goes back to generation 6 with 3"),
        (lambda run: rewrite(run, 4, Kind.TAKE, 1), "entry 5 was not made on top of entry 4", "takes generation 6"),
        (lambda run: rewrite(run, 7, Kind.TAKE, 0), "take of attempt 0, may not follow gen of attempt 1", "6"),
        (lambda run: rewrite(run, 7, Kind.GEN, 0), "holds no generation", "back to generation 6"),
        (lambda run: blob_holding(run, BIG[::-1]).unlink(), "is missing", "goes back to generation 3 with 2"),
        (write(b"short"), "has 5 bytes, it had", "goes back to generation 3 with 2"),
    ],
)
def test_damage_is_found_and_what_a_restore_would_do(
    run: RunOnDisk,
    damage: Callable[[RunOnDisk], None],
    problem: str,
    restores: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(run)
    assert run.command("verify", run.url) == 1
    said = capsys.readouterr().out
    assert problem in said
    (restore,) = [line for line in said.splitlines() if line.startswith("  shard 0: a restore ")]
    assert restores in restore


def test_something_foreign_in_a_log_is_found(run: RunOnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    run.entry(0, 0).with_name("notes.txt").write_text("mine")
    assert run.command("verify", run.url) == 1
    assert "notes.txt is not the name of a log entry" in capsys.readouterr().out
    assert run.command("ls", run.url) == 0
    assert "notes.txt" in capsys.readouterr().out


def test_only_a_deep_look_finds_what_has_rotted(run: RunOnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    write(BIG)(run)
    assert run.command("verify", run.url) == 0
    assert run.command("verify", run.url, "--deep") == 1
    said = capsys.readouterr().out
    assert "holds bytes with sha256" in said
    assert "goes back to generation 3 with 2 items" in said


def test_items_and_merged_results_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunOnDisk(tmp_path, items=["a"])
    run.attempt(0, [{"results.jsonl": HEADER + done('"a"', 1)}])
    run.store.create(f"merged/{'0' * 64}.jsonl", b"{}\n")
    (run.root / "items.jsonl").write_text('{"key": "b", "item": 0}\n')
    assert run.command("verify", run.url) == 1
    said = capsys.readouterr().out
    assert f"merged/{'0' * 64}.jsonl holds bytes with sha256" in said
    assert "items.jsonl has sha256" in said
    (run.root / "items.jsonl").unlink()
    assert run.command("verify", run.url) == 1
    assert "items.jsonl is missing" in capsys.readouterr().out


def test_blobs_that_nothing_needs_are_no_damage(run: RunOnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    run.store.create(f"blobs/{'1' * 64}", b"left behind")
    assert run.command("verify", run.url) == 0
    assert "1 blobs (11 B) that no generation refers to" in capsys.readouterr().out


def test_a_shard_is_restored_without_a_cluster(
    run: RunOnDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run.objects()
    target = tmp_path / "new" / "target"
    assert run.command("restore", run.url, "--shard", "0", "--to", str(target)) == 0
    # The same as what the writer had on disk.
    assert files_in(target) == files_in(tmp_path / "snapshot-0-1")
    assert "generation 6 with 3 items: 2 files" in capsys.readouterr().out
    assert run.command("restore", run.url, "--shard", "0", "--to", str(target)) == 2
    assert "is not empty, and nothing is overwritten" in capsys.readouterr().err
    older = tmp_path / "older"
    older.mkdir()
    assert run.command("restore", run.url, "--shard", "0", "--to", str(older), "--generation", "3") == 0
    assert files_in(older) == files_in(tmp_path / "snapshot-0-0")
    assert run.objects() == before
    for seq, problem in (("5", "is a base, no generation"), ("9", "has no entry 9")):
        assert run.command("restore", run.url, "--shard", "0", "--to", str(tmp_path / "x"), "--generation", seq) == 66
        assert problem in capsys.readouterr().err


def test_a_restore_passes_over_what_is_damaged_and_says_so(
    run: RunOnDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(BIG)(run)
    target = tmp_path / "target"
    assert run.command("restore", run.url, "--shard", "0", "--to", str(target), "--generation", "6") == (
        Exit.CHECKPOINT_CORRUPT
    )
    assert not target.exists()
    capsys.readouterr()
    assert run.command("restore", run.url, "--shard", "0", "--to", str(target)) == 0
    assert files_in(target) == files_in(tmp_path / "snapshot-0-0")
    assert "passed over 6: " in capsys.readouterr().err


def test_a_restore_leaves_nothing_behind_where_all_is_damaged(
    run: RunOnDisk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seq in (2, 3, 6):
        lose(run, seq)
    folder = tmp_path / "folder"
    assert run.command("restore", run.url, "--shard", "0", "--to", str(folder / "target")) == Exit.CHECKPOINT_CORRUPT
    assert list(folder.iterdir()) == []
    assert "none of the generations" in capsys.readouterr().err


def test_a_shard_that_was_only_taken_has_nothing_to_restore(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunOnDisk(tmp_path)
    run.attempt(0, [], end=None)
    assert run.command("restore", run.url, "--shard", "0", "--to", str(tmp_path / "target")) == 66
    assert "has no generation yet" in capsys.readouterr().err
    assert run.command("verify", run.url) == 0
    assert run.command("ls", run.url) == 0
    assert " open " in capsys.readouterr().out
