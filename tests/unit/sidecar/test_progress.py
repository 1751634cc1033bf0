from __future__ import annotations

import itertools
import json

import pytest

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import LogInvalid, entries_of, line_of
from sweep_sidecar.progress import (
    Counted,
    Progress,
    counted_lines,
    counted_mime,
    counted_start,
    counting,
    may_be_mime,
    settled_entries,
    starts_sweep_log,
    united,
)

HEADER = b'{"kind":"header","schema_version":1}\n'
COMPLETE = b'{"kind":"complete","total":1,"keys_sha256":"ab"}\n'


def done(key: object) -> bytes:
    return json.dumps({"kind": "done", "key": key, "result": 0}).encode() + b"\n"


def test_keys_are_counted_once_and_by_type() -> None:
    counted = counted_lines(HEADER + done(1) + done("1") + done(1) + done([1, "a"]), Counted())
    assert counted.keys == {identity(1), identity("1"), identity([1, "a"])}
    assert counted_lines(done(True), counted).keys == counted.keys | {identity(True)}


def test_the_librarys_word_counts_only_at_the_end() -> None:
    counted = counted_lines(HEADER + done(1) + COMPLETE, Counted())
    assert (counted.total, counted.keys_sha256) == (1, "ab")
    assert counted_lines(b"", counted) == counted
    for more in (done(2), b'{"kind":"reopened","attempt":3}\n'):
        later = counted_lines(more, counted)
        assert (later.total, later.keys_sha256) == (None, "")


@pytest.mark.parametrize("line", [b"\x00\n", b"[]\n", b'{"kind":"done"}\n', b'{"kind":"complete","total":"x"}\n'])
def test_a_line_that_is_no_entry_is_an_error(line: bytes) -> None:
    with pytest.raises(LogInvalid):
        counted_lines(line, Counted())


def test_progress_of_mime_engine() -> None:
    counted = counted_mime(b'{"completed": [{"key": 1, "result": 2}, {"key": [3], "result": null}]}')
    assert counted == Counted(frozenset({identity(1), identity([3])}), formats=frozenset({"mime"}))
    for other in (b"", b"[]", b'{"completed": 1}', b'{"completed": [{"result": 1}]}', b"\xff"):
        assert counted_mime(other) is None


def test_a_sweeps_log_is_known_by_its_first_line() -> None:
    assert starts_sweep_log(HEADER + done(1))
    for other in (b"", HEADER[:-1], b'{"a":1}\n', b"text\n"):
        assert not starts_sweep_log(other)


def test_the_named_file_counts_where_it_can() -> None:
    some = Counted()
    assert counting({"b.jsonl": some, "a.jsonl": some, "c": None}, named="b.jsonl") == ("b.jsonl",)
    assert counting({"b.jsonl": some, "a.jsonl": some, "c": None}, named="c") == ("a.jsonl", "b.jsonl")
    assert counting({"c": None}, named="c") == ()


def said(kind: str, key: object) -> bytes:
    return line_of({"kind": kind, "key": key, "result": 0, "error": "e", "why": "w", "at": 1.0})


@pytest.mark.parametrize(
    ("kinds", "settled"),
    [
        (("started", "skipped"), "skipped"),
        (("skipped", "skipped"), "skipped"),
        (("skipped", "done"), "done"),
        (("done", "skipped"), "done"),
        (("done", "failed", "started"), "done"),
        (("failed", "skipped"), "skipped"),
        (("skipped", "failed"), None),
        (("skipped", "started"), None),
        (("skipped", "failed", "skipped"), "skipped"),
        (("started", "failed"), None),
        (("skipped", "resumed"), "skipped"),
    ],
)
def test_a_done_stands_and_of_the_others_the_last_counts(kinds: tuple[str, ...], settled: str | None) -> None:
    lines = [HEADER] + [said(kind, "a") for kind in kinds]
    expected = (
        frozenset([identity("a")] if settled == "done" else []),
        frozenset([identity("a")] if settled == "skipped" else []),
    )
    # However the mirror's looks cut the log.
    for cuts in itertools.product([False, True], repeat=len(lines) - 1):
        counted, piece = Counted(), b""
        for line, is_cut in zip(lines, (*cuts, True), strict=True):
            piece += line
            if is_cut:
                counted, piece = counted_lines(piece, counted), b""
        assert (counted.keys, counted.skipped) == expected
        assert counted.settled == expected[0] | expected[1]
    results, skipped = settled_entries(entries_of(b"".join(lines)))
    assert (results.keys(), skipped.keys()) == expected
    assert {entry["kind"] for entry in (results | skipped).values()} == ({settled} if settled else set())


def test_the_librarys_word_ends_with_any_later_entry() -> None:
    complete = line_of({"kind": "complete", "total": 2, "keys_sha256": "ab", "skipped": 1})
    counted = counted_lines(HEADER + said("done", 1) + said("skipped", 2) + complete, Counted())
    assert (counted.total, counted.keys_sha256, len(counted.settled)) == (2, "ab", 2)
    for kind in ("resumed", "fallback", "started", "skipped"):
        assert counted_lines(said(kind, 2), counted).total is None


def test_a_line_that_does_not_fit_its_check_is_an_error() -> None:
    line = said("done", "a").replace(b'"result":0', b'"result":1')
    with pytest.raises(LogInvalid, match="line 2 does not fit its checksum"):
        counted_lines(HEADER + line, Counted())


GMAT_HEADER = json.dumps({"gmat_sweep_version": "0.6.0", "run_count": 3, "schema_version": 1, "script_sha256": "ab"})


def run(run_id: int, status: str) -> bytes:
    return json.dumps({"run_id": run_id, "status": status, "overrides": {}}).encode() + b"\n"


@pytest.mark.parametrize(
    ("statuses", "settled"),
    [
        (("ok",), "done"),
        (("failed",), None),
        (("skipped",), "skipped"),
        (("failed", "ok"), "done"),
        (("ok", "skipped"), "done"),
        (("ok", "failed"), None),
        (("ok", "skipped", "failed"), None),
        (("skipped", "failed"), None),
        (("skipped", "ok"), "done"),
    ],
)
def test_the_last_entry_of_a_run_of_gmat_sweep_counts(statuses: tuple[str, ...], settled: str | None) -> None:
    head = GMAT_HEADER.encode() + b"\n"
    lines = [head, *(run(7, status) for status in statuses)]
    for cuts in itertools.product([False, True], repeat=len(lines) - 1):
        counted, piece = counted_start(head, "gmat"), b""
        assert counted is not None
        for line, is_cut in zip(lines, (*cuts, True), strict=True):
            piece += line
            if is_cut:
                counted, piece = counted_lines(piece, counted), b""
        assert counted.keys == frozenset([identity(7)] if settled == "done" else [])
        assert counted.skipped == frozenset([identity(7)] if settled == "skipped" else [])
        assert (counted.total, counted.formats) == (None, {"gmat"})


def test_a_line_that_gmat_sweep_could_not_read_is_an_error() -> None:
    counted = counted_start(GMAT_HEADER.encode() + b"\n", "gmat")
    assert counted is not None
    for line in (b'{"run_id": 7, "sta\n', b'{"run_id": "7", "status": "ok"}\n', b'{"run_id": 7, "status": "done"}\n'):
        with pytest.raises(LogInvalid, match="no entry of gmat-sweep's"):
            counted_lines(run(1, "ok") + line, counted)
    with pytest.raises(LogInvalid, match="schema version 2"):
        counted_start(GMAT_HEADER.replace('_version": 1', '_version": 2').encode() + b"\n", "gmat")


@pytest.mark.parametrize(
    ("progress", "formats"),
    [("auto", "sweep mime"), ("sweep", "sweep"), ("mime", "mime"), ("gmat", "gmat"), ("none", "")],
)
def test_only_the_format_that_was_named_is_counted(progress: Progress, formats: str) -> None:
    found = {
        "sweep": counted_start(HEADER + done(1), progress) is not None,
        "mime": may_be_mime("out.progress.json", progress),
        "gmat": counted_start(GMAT_HEADER.encode() + b"\n" + run(1, "ok"), progress) is not None,
    }
    assert [name for name, counts in found.items() if counts] == formats.split()


def test_the_records_of_several_files_are_one() -> None:
    log = counted_lines(HEADER + done(1) + said("skipped", 2) + said("skipped", 3) + COMPLETE, Counted())
    assert united([log]) is log
    mime = counted_mime(b'{"completed": [{"key": 2, "result": 2}]}')
    assert mime is not None
    both = united([log, mime])
    assert (both.keys, both.skipped) == ({identity(1), identity(2)}, {identity(3)})
    assert (both.total, both.formats) == (None, {"sweep", "mime"})
