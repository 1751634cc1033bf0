"""The fast way through a log against the plain one: `entries_of`, line by line, with every entry taken at its word."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resumable_sweep import LogInvalid
from resumable_sweep._entries import Entries
from resumable_sweep._ledger import Ledger, State
from resumable_sweep._scan import Scan, scan
from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import checked_line, entries_of, has_check, line_of

STATES = {"started": State.IN_PROGRESS, "failed": State.FAILED, "skipped": State.SKIPPED, "done": State.DONE}
HEADER = line_of({"kind": "header", "schema_version": 2, "run_id": None, "seed": 0})
ENTRIES = Entries(attempt=1, host="h", clock=lambda: 2.5)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ['a","result":1', "\\", '\\"', '"', ',"result":', "\u2028", "{", "[1", "\n", "/", "é", "$sweep.file"]
)
KEYS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=3,
)
FEW_KEYS = st.sampled_from(["a", 'b"', "c\\", 1, 1.5, None, ["a", 1], {"a": ',"result":'}])
FILE = {"$sweep.file": {"path": "r.files/0.bin", "sha256": "0", "size_bytes": 1, "kind": "bytes"}}
RESULTS = KEYS | st.just(FILE)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line as this library writes it, as another writer might, or damaged."""
    key, result = draw(KEYS | FEW_KEYS), draw(RESULTS)
    name = identity(key)
    entry: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"kind": "done", "key": key, "result": result, "host": "h"},
                {"kind": "started", "at": 1.5, "key": key},
                {"kind": "started", "at": 1.5, "key": key, "host": "h"},
                {"kind": "started", "at": {"key": 1}, "key": key},
                {"kind": "started", "at": 1.5},
                {"kind": "failed", "key": key, "error": "e"},
                {"kind": "skipped", "key": key, "why": "w"},
                {"kind": "done", "key": key},
                {"kind": "complete", "total": 1},
                {"kind": "resumed", "replayed": 1},
                {"kind": "fallback"},
                {"kind": "later", "key": key},
                {"kind": ["done"], "key": key, "result": result},
                {"kind": None},
                {"key": key},
            ]
        )
    )
    how = draw(st.sampled_from(["own", "own", "own", "plain", "escaped", "spaced", "reversed", "unchecked", "blank"]))
    if how == "blank":
        return draw(st.sampled_from([b"\n", b" \t\r\n", b"\x0b\n"]))
    if how == "own":
        text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
        own = [
            ENTRIES.done(name, text, started=1.5),
            ENTRIES.started(name, 1e-7),
            ENTRIES.failed(name, error="e", traceback="t", started=None),
            ENTRIES.skipped(name, "w"),
        ]
        line = draw(st.sampled_from([own[0], own[0], *own]))
    elif how == "reversed":
        line = line_of(dict(reversed(entry.items())))
    elif how == "unchecked":
        line = json.dumps(entry).encode() + b"\n"
    else:
        parts = (", ", ": ") if how == "spaced" else (",", ":")
        line = checked_line(json.dumps(entry, ensure_ascii=how == "escaped", separators=parts)[:-1].encode())
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(line) - 2))
        line = line[:place] + bytes((line[place] ^ (1 << draw(st.integers(0, 7))),)) + line[place + 1 :]
    return line


def plainly(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `data` says by key, and what besides, from its lines one by one."""
    keys: dict[str, dict[str, Any]] = {}
    rest: dict[str, Any] = {"header": {}, "damaged": [], "completion": None, "resumes": 0, "fall_backs": 0, "files": []}
    offset = 0
    for line in data.split(b"\n")[:-1]:
        start, offset = offset, offset + len(line) + 1
        try:
            found = list(entries_of(line + b"\n"))
        except LogInvalid:
            rest["damaged"].append(start)
            continue
        if not found:
            continue
        (entry,) = found
        kind = entry.get("kind")
        if not has_check(line) and rest["header"].get("schema_version", 0) >= 2:
            rest["damaged"].append(start)
            continue
        rest["completion"] = entry if kind == "complete" else None
        rest["resumes"] += kind == "resumed"
        rest["fall_backs"] += kind == "fallback"
        if kind == "header":
            rest["header"] |= entry
        if not isinstance(kind, str) or kind not in STATES:
            continue
        state, name = STATES[kind], identity(entry["key"])
        known = keys.setdefault(name, {"state": State.MISSING, "where": (-1, 0), "failures": 0})
        known["failures"] += state is State.FAILED
        if "result" in entry and "$sweep.file" in identity(entry["result"]) and entry["result"] == FILE:
            rest["files"].append((name, start, len(line)))
        if known["state"] is State.DONE and state is not State.DONE:
            continue
        known["state"] = state
        if state is not State.IN_PROGRESS:
            known["where"] = (start, len(line))
    return keys, rest


@contextmanager
def in_file(data: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.fileno()


def taken(ledger: Ledger) -> dict[str, dict[str, Any]]:
    keys = {
        name: {"state": one.state, "where": (one.offset, one.size), "failures": one.failures}
        for name, one in ledger.strays.items()
    }
    for place, name in enumerate(ledger.names):
        state, failures = ledger.state(place), ledger.failures(place)
        if state is not State.MISSING or failures:
            keys[name] = {"state": state, "where": ledger.where(place), "failures": failures}
    return keys


def same(ledger: Ledger, found: Scan, data: bytes) -> None:
    keys, rest = plainly(data)
    if any(entry["state"] is State.IN_PROGRESS for entry in keys.values()):
        # Where an item was begun is of no use to anybody.
        for one in (*keys.values(), *(got := taken(ledger)).values()):
            one["where"] = None if one["state"] is State.IN_PROGRESS else one["where"]
        assert got == keys
    else:
        assert taken(ledger) == keys
    assert [damage.offset for damage in found.damaged] == rest["damaged"]
    assert found.completion == rest["completion"]
    assert found.header == rest["header"]
    assert (found.resumes, found.fall_backs) == (rest["resumes"], rest["fall_backs"])
    assert [one for one in found.with_files if one in rest["files"]] == rest["files"]
    whole = data[: data.rfind(b"\n") + 1]
    assert (found.end, found.size) == (len(whole), len(data))
    assert found.digest.hexdigest() == hashlib.sha256(whole).hexdigest()


@settings(max_examples=250, deadline=None)
@given(
    st.lists(lines(), max_size=25),
    st.booleans(),
    st.sampled_from([64, 300, 4 << 20]),
    st.sampled_from([1, 3, 16]),
    st.lists(KEYS | FEW_KEYS, max_size=4, unique_by=identity),
    st.binary(max_size=10).filter(lambda torn: b"\n" not in torn),
    st.integers(0, 1 << 16),
)
@example([checked_line(b'{"kind":"started","at":1.5,"key":"a","host":"h"')] * 2, True, 64, 1, ["a"], b"", 0)
@example([checked_line(b'{"kind":"started","at":1.5,"key":"\\u00e9"')] * 2, True, 64, 1, ["é"], b"", 0)
@example([checked_line(b'{"kind":"done","key":"\\/","result":1')] * 2, True, 64, 1, ["/"], b"", 0)
@example([checked_line(b'{"kind":"done","key":1.50,"result":1')] * 2, True, 64, 1, [1.5], b"", 0)
@example([checked_line(b'{"kind":"done","key":[1,"result":2]')] * 2, True, 64, 1, [], b"", 0)
@example([b'{"kind":[]}\n'], False, 64, 1, [], b"", 0)
def test_the_fast_way_says_what_the_plain_one_says(
    content: list[bytes], has_header: bool, chunk: int, few: int, items: list[Any], torn: bytes, cut: int
) -> None:
    data = (HEADER if has_header else b"") + b"".join(content) + torn
    with patch("resumable_sweep._scan._PIECE_BYTES", chunk), patch("resumable_sweep._scan._FEW", few):
        ledger = Ledger()
        for item in items:
            ledger.add(identity(item), item)
        with in_file(data) as file:
            same(ledger, scan(file, ledger.note), data)
        ledger = Ledger()
        for item in items:
            ledger.add(identity(item), item)
        with in_file(data[: cut % (len(data) + 1)]) as file:
            found = scan(file, ledger.note)
            os.pwrite(file, data, 0)
            same(ledger, scan(file, ledger.note, found), data)


def test_a_newer_schema_is_refused_and_a_flipped_version_is_damage() -> None:
    newer = {"kind": "header", "schema_version": 3, "run_id": None}
    with in_file(line_of(newer)) as file, pytest.raises(LogInvalid, match="install a newer"):
        scan(file, Ledger().note)
    with in_file(line_of(newer).replace(b'"run_id"', b'"run_ib"')) as file:
        assert len(scan(file, Ledger().note).damaged) == 1


def test_a_log_is_told_from_other_files() -> None:
    done = ENTRIES.done('"a"', "1", started=None)
    for data, is_log in [
        (HEADER, True),
        (HEADER + b"garbage\n", True),
        (b"garbage\n" + done, True),
        (b"garbage\n", False),
        (b'{"a":1}\n', False),
        (b"", None),
        (HEADER[:-1], None),
    ]:
        with in_file(data) as file:
            assert scan(file, Ledger().note).is_log is is_log


def test_how_a_file_without_a_line_begins_is_told() -> None:
    with in_file(HEADER[:20]) as file:
        assert scan(file, Ledger().note).first_bytes == HEADER[:20]
