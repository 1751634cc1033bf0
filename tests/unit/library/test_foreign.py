from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep._foreign import foreign_entries
from resumable_sweep._foreign.mime_export import write_mime_progress
from resumable_sweep._foreign.mime_progress import manifest_text, previous_path, progress_path
from resumable_sweep._sources import damage_of, fetched
from resumable_sweep.contract.log_format import LogInvalid
from resumable_sweep.contract.manifest import manifest_path

Records = list[tuple[Any, Any]]
CHANGES = ("open", "pwrite", "fsync", "replace", "link", "unlink", "mkdir", "ftruncate", "write", "rename")
OLD: Records = [("a", {"score": 0.5}), ("b", [1, 2])]
GROWN: Records = [*OLD, ("c", None)]
CHANGED: Records = [("a", {"score": 0.25}), ("b", [1, 2]), ("c", None)]
"""An earlier record is another: what the file began with before it does not begin with now."""


class Killed(BaseException):
    """The process ends here; nothing it still means to do is done."""


@contextmanager
def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `number` calls that change files happen, and none after them, cleaning up included."""
    calls = itertools.count()

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if next(calls) >= number:
                raise Killed
            return real(*given, **named)

        return call

    with monkeypatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, dying(getattr(os, name)))
        yield


def as_mime_writes(records: Records) -> bytes:
    return json.dumps({"completed": [{"key": key, "result": result} for key, result in records]}, indent=1).encode()


def as_mime_reads(path: Path) -> Records | None:
    """What mime-engine 0.2.0 makes of the pair: its records, None where it refuses them."""
    data = path.read_bytes()
    if manifest_path(path).exists():
        stated = json.loads(manifest_path(path).read_bytes())
        if stated["sha256"] != hashlib.sha256(data).hexdigest():
            return None
    return [(record["key"], record["result"]) for record in json.loads(data)["completed"]]


def is_vouched_for(path: Path) -> bool:
    """Whether a manifest in the folder, of whatever name, is that of the file, to the last byte."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return any(json.loads(file.read_bytes())["sha256"] == digest for file in path.parent.glob("*.manifest.json"))


def records_in(path: Path) -> Records:
    entries = foreign_entries(path)
    assert entries is not None
    found = list(entries)
    assert {entry["kind"] for entry in found} <= {"done"}
    return [(entry["key"], entry["result"]) for entry in found]


@pytest.fixture
def progress(tmp_path: Path) -> Path:
    return progress_path(tmp_path / "out.h5")


@pytest.mark.parametrize(
    "records",
    [
        [],
        [("a", 1)],
        OLD,
        [(1, {"nested": {"deep": [{}, [], {"x": "line\n  }\nline"}]}}), (["k", 2], "ü\u2028\ud800"), (None, -0.0)],
        [("inf", [float("inf"), float("-inf")]), ("big", 10**30), ("small", 5e-324), (True, False)],
        [(number, "x" * 1000) for number in range(3000)],  # more than is gathered before it is written
    ],
    ids=["none", "one", "two", "nested", "numbers", "many"],
)
def test_it_is_written_as_mime_engine_writes_it(progress: Path, records: Records) -> None:
    assert write_mime_progress(progress, iter(records)) is None
    data = as_mime_writes(records)
    assert progress.read_bytes() == data
    digest = hashlib.sha256(data).hexdigest()
    # MADDENING 0.2.1, write_manifest: two blanks, that order, no newline.
    extra = {"kind": "sweep_progress", "n_records": len(records)}
    fields = {"schema_version": 1, "sha256": digest, "size_bytes": len(data), "extra": extra}
    assert manifest_path(progress).read_text() == json.dumps(fields, indent=2)
    assert records_in(progress) == records


def test_what_is_no_json_leaves_all_as_it_was(progress: Path) -> None:
    write_mime_progress(progress, OLD)
    before = {file: file.read_bytes() for file in progress.parent.iterdir()}
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_mime_progress(progress, [("a", {1, 2})])
    assert {file: file.read_bytes() for file in progress.parent.iterdir()} == before


@pytest.mark.parametrize("new", [GROWN, CHANGED, OLD[:1]], ids=["grown", "changed", "shrunk"])
@pytest.mark.parametrize("earlier", [[], [OLD[:1]]], ids=["first", "second"])
def test_a_kill_at_any_moment_leaves_what_both_readers_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: Records, earlier: list[Records]
) -> None:
    for number in itertools.count():
        progress = tmp_path / str(number) / "out.progress.json"
        for records in [*earlier, OLD]:
            write_mime_progress(progress, records)
        try:
            with killed_at(number, monkeypatch):
                write_mime_progress(progress, new)
        except Killed:
            ended = False
        else:
            ended = True
        assert is_vouched_for(progress), number
        assert damage_of(progress) is None, number
        assert records_in(progress) in (OLD, new), number
        assert as_mime_reads(progress) == records_in(progress), number
        # The next to write may be killed at the same place, and the one after it comes to its end.
        with pytest.raises(Killed) if not ended else monkeypatch.context(), killed_at(number, monkeypatch):
            write_mime_progress(progress, new)
        assert is_vouched_for(progress), number
        assert damage_of(progress) is None, number
        assert as_mime_reads(progress) == records_in(progress), number
        write_mime_progress(progress, CHANGED)
        assert as_mime_reads(progress) == records_in(progress) == CHANGED, number
        kinds = ("", ".manifest.json", ".previous", ".previous.manifest.json")
        assert {file.name for file in progress.parent.iterdir()} == {progress.name + kind for kind in kinds}
        if ended:
            assert number > 10
            break


def test_a_kill_of_the_very_first_write_leaves_nothing_or_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in itertools.count():
        progress = tmp_path / str(number) / "out.progress.json"
        try:
            with killed_at(number, monkeypatch):
                write_mime_progress(progress, OLD)
        except Killed:
            if progress.exists():
                assert damage_of(progress) is None
                assert as_mime_reads(progress) == OLD
        else:
            break
    assert number > 5


def test_without_hard_links_the_older_state_is_a_copy(progress: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_mime_progress(progress, OLD)
    write_mime_progress(progress, GROWN)
    assert records_in(previous_path(progress)) == OLD
    assert damage_of(previous_path(progress)) is None


def test_a_damaged_one_gives_way_to_the_state_before_it(progress: Path) -> None:
    write_mime_progress(progress, OLD)
    write_mime_progress(progress, CHANGED)
    whole = progress.read_bytes()
    for place in range(len(whole)):
        progress.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = fetched(progress, progress, pause=lambda _: None)
        assert found is not None
        assert found.damage is not None
        assert found.older == previous_path(progress)
        assert records_in(found.older) == OLD


@pytest.mark.parametrize(("good", "bad"), [(b"0.5", b"0.6"), (b'"completed"', b'"complated"'), (b"{", b"[")])
def test_what_contradicts_its_manifest_is_not_read_though_it_could_be(progress: Path, good: bytes, bad: bytes) -> None:
    write_mime_progress(progress, OLD)
    progress.write_bytes(progress.read_bytes().replace(good, bad, 1))
    with pytest.raises(LogInvalid, match="is not what its manifest says"):
        records_in(progress)


def test_a_damaged_one_is_kept_and_never_becomes_the_state_before(progress: Path) -> None:
    write_mime_progress(progress, OLD)
    write_mime_progress(progress, GROWN)
    damaged = progress.read_bytes().replace(b"0.5", b"0.6")
    progress.write_bytes(damaged)
    kept = write_mime_progress(progress, CHANGED)
    assert kept is not None
    assert kept.name == "out.h5.progress.json.corrupt-1"
    assert kept.read_bytes() == damaged
    assert records_in(previous_path(progress)) == OLD
    assert damage_of(previous_path(progress)) is None
    assert as_mime_reads(progress) == CHANGED


def test_mime_engine_never_believes_a_damaged_one_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in itertools.count():
        progress = tmp_path / str(number) / "out.progress.json"
        write_mime_progress(progress, OLD)
        progress.write_bytes(progress.read_bytes().replace(b"0.5", b"0.6"))
        try:
            with killed_at(number, monkeypatch):
                write_mime_progress(progress, GROWN)
        except Killed:
            assert as_mime_reads(progress) in (None, GROWN)
        else:
            break
    assert number > 5


def killed_between(progress: Path, *, manifest_of: Records, manifest_bytes: int | None = None) -> None:
    """Leave what mime-engine leaves that is killed after it has replaced the file."""
    progress.write_bytes(as_mime_writes(GROWN))
    data = as_mime_writes(manifest_of)
    digest = hashlib.sha256(data).hexdigest()
    text = manifest_text(sha256=digest, size_bytes=len(data), records=len(manifest_of))
    manifest_path(progress).write_bytes(text[:manifest_bytes])


def test_a_manifest_that_is_behind_vouches_for_the_first_records(progress: Path) -> None:
    killed_between(progress, manifest_of=OLD)
    assert damage_of(progress) is None
    progress.write_bytes(as_mime_writes([("a", {"score": 0.6}), *GROWN[1:]]))
    assert damage_of(progress) == "out.h5.progress.json is not what its manifest says"


def test_a_torn_manifest_is_none(progress: Path) -> None:
    whole = len(manifest_text(sha256="0" * 64, size_bytes=100, records=3))
    for size in range(whole):
        killed_between(progress, manifest_of=GROWN, manifest_bytes=size)
        assert damage_of(progress) is None, size
    killed_between(progress, manifest_of=OLD, manifest_bytes=60)
    assert damage_of(progress) == "out.h5.progress.json is not what its manifest says"


def test_without_a_manifest_a_progress_file_need_only_be_whole(progress: Path) -> None:
    whole = as_mime_writes(OLD)
    progress.write_bytes(whole)
    assert damage_of(progress) is None
    progress.write_bytes(whole[:-1])
    assert "cannot be read" in str(damage_of(progress))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"completed": [{"key": 1}]}', "record 0 is not an object with key and result"),
        ('{"completed": {"key": 1}}', '"completed" must be a list of records, not dict'),
        ('{"completed": [', "cannot be read"),
    ],
)
def test_a_progress_file_that_holds_something_else_is_refused(progress: Path, text: str, match: str) -> None:
    progress.write_text(text)
    with pytest.raises(LogInvalid, match=match):
        records_in(progress)
    assert match in str(damage_of(progress))


GMAT_HEADER = {
    "schema_version": 1, "script_sha256": "00", "gmat_sweep_version": "0.6.0", "gmat_run_version": "0.6.0",
    "gmat_install_version": "R2025a", "python_version": "3.11", "os_platform": "Linux", "sweep_seed": None,
    "parameter_spec": {}, "run_count": 4, "backend": "joblib", "postprocess": None,
}  # fmt: skip


def gmat_run(run_id: int, status: str, **fields: Any) -> dict[str, Any]:
    run = {
        "run_id": run_id, "overrides": {"Sat.SMA": 7000.0 + run_id}, "context": {}, "status": status,
        "output_paths": {"report": f"run-{run_id}/report.parquet"}, "extra_outputs": {}, "solver_paths": {},
        "converged": {}, "postprocess_status": "none", "started_at": "2026-01-02T03:04:05+00:00",
        "ended_at": "2026-01-02T03:04:06.5+00:00", "duration_s": 1.5, "stderr": None, "log_path": None,
    }  # fmt: skip
    return {**run, **fields}


@pytest.fixture
def gmat(tmp_path: Path) -> Callable[..., Path]:
    def write(*runs: dict[str, Any] | str, torn: str = "", **header: Any) -> Path:
        file = tmp_path / "manifest.jsonl"
        lines = [json.dumps(line, sort_keys=True) if isinstance(line, dict) else line for line in runs]
        file.write_text("\n".join([json.dumps({**GMAT_HEADER, **header}, sort_keys=True), *lines, torn]))
        return file

    return write


def entries(path: Path) -> list[dict[str, Any]]:
    found = foreign_entries(path)
    assert found is not None
    return list(found)


def test_the_runs_of_gmat_sweep(gmat: Callable[..., Path]) -> None:
    trace = "Traceback (most recent call last):\n  ...\nGmatError: no such body\n"
    path = gmat(gmat_run(0, "ok"), gmat_run(2, "failed", stderr=trace), gmat_run(1, "skipped"))
    started, ended = 1767323045.0, 1767323046.5
    result = {name: value for name, value in gmat_run(0, "ok").items() if name not in (
        "run_id", "status", "stderr", "started_at", "ended_at")}  # fmt: skip
    nobody = {"attempt": None, "host": None}
    assert entries(path) == [
        {"kind": "done", "key": 0, "result": result, **nobody, "started": started, "ended": ended},
        {"kind": "failed", "key": 2, "error": "GmatError: no such body", "traceback": trace, **nobody,
         "started": started, "ended": ended},
        {"kind": "skipped", "key": 1, "why": "gmat-sweep skipped this run", **nobody, "at": ended},
    ]  # fmt: skip
    assert damage_of(path) is None


def test_the_last_entry_of_a_run_wins_but_for_skipping_what_is_done(gmat: Callable[..., Path]) -> None:
    path = gmat(
        gmat_run(0, "failed"), gmat_run(1, "ok", duration_s=7.0), gmat_run(2, "failed"),
        gmat_run(0, "ok"), gmat_run(1, "skipped"), gmat_run(2, "skipped"),
    )  # fmt: skip
    assert [(entry["key"], entry["kind"]) for entry in entries(path)] == [(0, "done"), (1, "done"), (2, "skipped")]
    assert entries(path)[1]["result"]["duration_s"] == 7.0


def test_a_torn_last_line_costs_itself_only(gmat: Callable[..., Path]) -> None:
    torn = json.dumps(gmat_run(1, "ok"))
    for size in range(0, len(torn) + 1, 7):
        path = gmat(gmat_run(0, "ok"), torn=torn[:size])
        assert [entry["key"] for entry in entries(path)] == [0]
        assert damage_of(path) is None


@pytest.mark.parametrize(
    "line",
    ['{"run_id": 1, "sta', "[]", '{"run_id": 1}', '{"run_id": "1", "status": "ok"}', '{"run_id": 1, "status": "odd"}',
     '{"run_id": 1, "status": "ok", "started_at": "yesterday"}', ""],
)  # fmt: skip
def test_a_damaged_line_costs_its_run_only_and_is_told(gmat: Callable[..., Path], line: str) -> None:
    path = gmat(gmat_run(0, "ok"), line, gmat_run(2, "ok"))
    assert [entry["key"] for entry in entries(path)] == [0, 2]
    assert damage_of(path) == "line 3 of manifest.jsonl cannot be read"


def test_a_newer_manifest_of_gmat_sweep_is_refused(gmat: Callable[..., Path]) -> None:
    with pytest.raises(LogInvalid, match="schema version 2, this reader knows 1 at most: install a newer"):
        entries(gmat(gmat_run(0, "ok"), schema_version=2))


@pytest.mark.parametrize(
    "text", ["", "{}", '{"kind":"header","schema_version":2}\n', '{"other": []}', "no JSON\n", "{\n"]
)
def test_what_is_none_of_them_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.progress.json"
    path.write_text(text)
    assert foreign_entries(path) is None
    assert damage_of(path) is None
