"""Results from elsewhere: what comes over, what belongs to it, and what must not be believed."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy
import pytest

from resumable_sweep import CheckpointFellBack, LogInvalid, ResumableSweep
from resumable_sweep.contract.log_format import entries_of
from resumable_sweep.contract.manifest import Manifest, manifest_path, sha256_of_file


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "before" / "results.jsonl"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "now" / "mine.jsonl"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve `folder` on loopback, and give its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def entries(path: Path, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in entries_of(path.read_bytes()) if entry["kind"] == kind]


def arrays(path: Path, **parameters: Any) -> list[Any]:
    """Run a sweep whose results are too large for a line; return them, what was replayed first."""
    with ResumableSweep(range(3), checkpoint_path=path, **parameters) as sweep:
        found = list(sweep.completed)
        for item in sweep.pending:
            found.append(sweep.record(item, {"large": numpy.arange(20_000.0) * (item + 1), "blob": b"x" * 70_000}))
    return found


@pytest.mark.parametrize("where", ["path", "file", "http", "renamed", "renamed http"])
def test_side_files_come_along_from_anywhere(source: Path, path: Path, where: str) -> None:
    expected = arrays(source)
    if where.startswith("renamed"):
        source = source.rename(source.with_name("renamed.jsonl"))
        manifest_path(source.with_name("results.jsonl")).rename(manifest_path(source))
    with served(source.parent) as url:
        address = {"path": str(source), "file": source.as_uri(), "renamed": str(source)}.get(where)
        with ResumableSweep(range(3), checkpoint_path=path, resume_from=address or f"{url}/{source.name}?a=b") as sweep:
            assert list(sweep.pending) == []
            numpy.testing.assert_equal(sweep.completed, expected)
    # They are this log's own now.
    for file in source.parent.rglob("*"):
        if file.is_file():
            file.unlink()
    numpy.testing.assert_equal(arrays(path), expected)


def test_an_item_whose_side_file_is_lost_elsewhere_runs_again(source: Path, path: Path) -> None:
    expected = arrays(source)
    sizes = sorted(source.parent.glob("results.jsonl.files/*.npy"))
    sizes[0].unlink()
    sizes[1].write_bytes(b"short")
    with pytest.warns(CheckpointFellBack, match="runs again"):
        found = arrays(path, resume_from=source)
    numpy.testing.assert_equal(sorted(found, key=_second), sorted(expected, key=_second))
    assert len(entries(path, "fallback")) == 2


def _second(result: Any) -> float:
    return float(result["large"][1])


def failing(path: Path, **parameters: Any) -> list[int]:
    ran = []
    with ResumableSweep(range(3), checkpoint_path=path, on_error="ignore", **parameters) as sweep:
        for item in sweep.pending:
            ran.append(item)
            with sweep.trying(item):
                if item == 1:
                    raise ValueError("again")
                sweep.record(item, item)
    return ran


@pytest.mark.parametrize("before", range(4))
def test_an_item_fails_no_more_often_for_having_moved(source: Path, path: Path, before: int) -> None:
    tries = sum(failing(source).count(1) for _ in range(before))
    tries += sum(failing(path, resume_from=source).count(1) for _ in range(6))
    assert tries == 3
    with ResumableSweep(range(3), checkpoint_path=path, on_error="ignore") as sweep:
        assert [failed.attempts for failed in sweep.find_failed()] == [3]


def test_an_item_that_was_at_its_last_try_keeps_its_failures(source: Path, path: Path) -> None:
    failing(source)
    with ResumableSweep(range(3), checkpoint_path=source, on_error="ignore") as sweep:
        assert next(sweep.pending) == 1
    with ResumableSweep(range(3), checkpoint_path=path, resume_from=source, on_error="ignore") as sweep:
        assert [(failed.item, failed.attempts) for failed in sweep.find_failed()] == [(1, 1)]


def test_failures_with_text_that_is_no_unicode_come_over(source: Path, path: Path) -> None:
    with ResumableSweep(range(2), checkpoint_path=source, on_error="ignore") as sweep:
        sweep.fail(0, "no file \udc80")
        sweep.skip(1, "half of a pair: \ud83d")
    with ResumableSweep(range(2), checkpoint_path=path, resume_from=source, on_error="ignore") as sweep:
        assert [failed.error for failed in sweep.find_failed()] == ["no file \udc80"]
        assert [skipped.why for skipped in sweep.find_skipped()] == ["half of a pair: \ud83d"]


def test_provenance_comes_over_and_what_is_here_stands(source: Path, path: Path) -> None:
    for log, factor in ((source, 10), (path, 7)):
        with ResumableSweep(range(4), checkpoint_path=log) as sweep:
            sweep.record(1, factor)
            if log == source:
                sweep.record(2, factor)
                sweep.skip(3, "far away")
    with ResumableSweep(range(4), checkpoint_path=path, resume_from=source) as sweep:
        assert sweep.completed == [7, 10]
        assert [skipped.item for skipped in sweep.find_skipped()] == [3]
        assert list(sweep.pending) == [0]
    here, there = ({entry["key"]: entry for entry in entries(log, "done")} for log in (path, source))
    assert here["2"] == there["2"]


def test_nothing_stays_behind_whatever_the_log_is_called(source: Path, tmp_path: Path) -> None:
    arrays(source)
    path = tmp_path / "now" / "a[1]*.jsonl"
    with served(source.parent) as url:
        arrays(path, resume_from=f"{url}/results.jsonl")
    assert [file.name for file in path.parent.iterdir() if ".tmp." in file.name] == []


def version_1(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True)
    lines = [{"kind": "header", "schema_version": 1, "run_id": None, "shard": 0, "shards": 1, "created": 1.0}]
    lines += [{"kind": "done", "key": key, "result": value, "host": "h"} for key, value in results.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_lines_without_checks_are_believed_unless_the_file_is_known_to_have_changed(source: Path, path: Path) -> None:
    version_1(source, {"0": 10, "1": 11})
    digest, size = sha256_of_file(source)
    manifest_path(source).write_text(Manifest(sha256=digest, size_bytes=size).to_json())
    with ResumableSweep(range(3), checkpoint_path=path, resume_from=source) as sweep:
        assert sweep.completed == [10, 11]
    source.write_text(source.read_text().replace("11", "17"))
    path = path.with_name("another.jsonl")
    with (
        pytest.warns(CheckpointFellBack, match="does not hash"),
        ResumableSweep(range(3), checkpoint_path=path, resume_from=source) as sweep,
    ):
        assert list(sweep.pending) == [0, 1, 2]


def test_a_damaged_line_costs_its_item_alone_and_the_source_is_left_as_it_is(source: Path, path: Path) -> None:
    with ResumableSweep(range(4), checkpoint_path=source) as sweep:
        for item in sweep.pending:
            sweep.record(item, item * 1111)
    data = source.read_bytes().replace(b"2222", b"2232")
    source.write_bytes(data)
    sweep = ResumableSweep(range(4), checkpoint_path=path, resume_from=source)
    with pytest.warns(CheckpointFellBack, match="fits its checksum"):
        sweep.__enter__()
    assert sweep.completed == [0, 1111, 3333]
    assert list(sweep.pending) == [2]
    assert sweep.stats().fall_backs == 1
    sweep.__exit__(None, None, None)
    assert source.read_bytes() == data
    assert path.with_name("mine.jsonl.corrupt-1").read_bytes() == data
    (entry,) = entries(path, "fallback")
    assert (entry["source"], entry["kept_as"]) == (str(source), str(path.with_name("mine.jsonl.corrupt-1")))


@pytest.mark.parametrize("content", ["hello\n", '{"a": 1}\n', "[]\n"])
def test_what_is_no_checkpoint_is_refused(source: Path, path: Path, content: str) -> None:
    source.parent.mkdir()
    source.write_text(content)
    with pytest.raises(LogInvalid, match="is no log of results"):
        ResumableSweep(range(2), checkpoint_path=path, resume_from=source).__enter__()


@pytest.mark.parametrize("until", range(5))
@pytest.mark.parametrize("remote", [False, True])
def test_random_states_come_over_with_the_last_result(source: Path, path: Path, until: int, remote: bool) -> None:
    def drawn(log: Path, stop: Callable[[int], bool], **parameters: Any) -> list[Any]:
        random.seed(5)
        with ResumableSweep(range(5), checkpoint_path=log, random_state=True, **parameters) as sweep:
            for item in sweep.pending:
                if stop(item):
                    break
                sweep.record(item, random.random())
            return [result for _, result in sweep.results()]

    expected = drawn(path.with_name("undisturbed"), lambda item: False)
    assert drawn(source, lambda item: item == until) == expected[:until]
    with served(source.parent) as url:
        address = f"{url}/{source.name}" if remote else source
        assert drawn(path, lambda item: item == 4, resume_from=address) == expected[: max(until, 4)]
        assert drawn(path, lambda item: False, resume_from=address) == expected
