from __future__ import annotations

import itertools
import json

import pytest

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import LogInvalid, entries_of, line_of
from sweep_sidecar.progress import (
    Counted,
    counted_lines,
    counted_mime,
    counting,
    settled_entries,
    starts_sweep_log,
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
    assert counted == Counted(frozenset({identity(1), identity([3])}))
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
