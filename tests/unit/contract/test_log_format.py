from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep.contract.log_format import (
    LogInvalid,
    check_holds,
    completion_of,
    entries_of,
    has_check,
    is_sweep_log,
    line_of,
    results_of,
)

HEADER = b'{"kind":"header","schema_version":1,"run_id":"r","shard":0,"shards":1,"created":1.0}\n'


def done(key: object, result: object) -> bytes:
    return json.dumps({"kind": "done", "key": key, "result": result}).encode() + b"\n"


def results(data: bytes) -> dict[str, object]:
    return {name: entry["result"] for name, entry in results_of(entries_of(data)).items()}


def test_the_last_result_of_a_key_wins_in_the_place_of_the_first() -> None:
    found = results(HEADER + done("a", 1) + done("b", 2) + done("a", 3))
    assert list(found.items()) == [('"a"', 3), ('"b"', 2)]


def test_keys_of_different_types_stay_apart() -> None:
    assert results(HEADER + done(1, "int") + done("1", "text")) == {"1": "int", '"1"': "text"}


@given(st.integers(min_value=0))
def test_whatever_follows_the_last_newline_is_no_entry(length: int) -> None:
    whole, last = HEADER + done("a", 1), done("b", 2)
    torn = whole + last[: length % len(last)]
    assert results(torn) == {'"a"': 1}


@pytest.mark.parametrize("data", [b"", b"{", HEADER.rstrip()], ids=["empty", "torn", "without newline"])
def test_without_a_whole_line_there_are_no_entries(data: bytes) -> None:
    assert list(entries_of(data)) == []


def test_unknown_kinds_and_fields_are_passed_over() -> None:
    data = HEADER + b'{"kind":"dreamt","key":"b"}\n{"colour":"red"}\n' + done("a", 1).replace(b"}", b',"new":[]}')
    assert results(data) == {'"a"': 1}


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b'{"kind":"done","key":"a","res', "line 2 is not JSON: .*remove that line"),
        (b"\xff\xfe", "line 2 is not JSON"),
        (b"[1,2]", "line 2 is not a JSON object"),
        (b'{"kind":"done","key":"a"}', "line 2 is an entry of kind done that lacks result"),
        (b'{"kind":"done"}', "line 2 is an entry of kind done that lacks key and result"),
        (b'{"kind":"failed","key":"a"}', "line 2 is an entry of kind failed that lacks error"),
        (b'{"kind":"header","schema_version":3}', "schema version 3, .* 2 at most: install a newer"),
        (b'{"kind":"header","schema_version":0}', "schema version 0, .* 1 at least"),
        (b'{"kind":"header","schema_version":"1"}', "schema_version is '1', not a whole number"),
    ],
)
def test_a_damaged_line_is_refused_by_its_number(line: bytes, match: str) -> None:
    with pytest.raises(LogInvalid, match=match):
        list(entries_of(HEADER + line + b"\n" + done("a", 1)))


@pytest.mark.parametrize(
    ("line", "is_log"),
    [
        (HEADER, True),
        (b'{"kind":"header","schema_version":9}', True),
        (b'{"kind":"header"}', False),
        (b'{"kind":"done","key":1,"result":2}', False),
        (b"[]", False),
        (b"\x89PNG", False),
        (b"", False),
    ],
)
def test_a_log_is_known_by_its_first_line(line: bytes, is_log: bool) -> None:
    assert is_sweep_log(line) is is_log


@pytest.mark.parametrize(
    ("kinds", "ends_complete"),
    [
        ([], False),
        (["header"], False),
        (["header", "done", "complete"], True),
        (["header", "complete", "done"], False),
        (["header", "complete", "reopened"], False),
        (["header", "complete", "complete"], True),
        (["header", "complete", "a kind of tomorrow"], False),
    ],
)
def test_complete_counts_only_at_the_end(kinds: list[str], ends_complete: bool) -> None:
    entries = [{"kind": kind, "place": place} for place, kind in enumerate(kinds)]
    assert completion_of(entries) == (entries[-1] if ends_complete else None)


ENTRIES = st.fixed_dictionaries(
    {"kind": st.just("done"), "key": st.integers() | st.text(max_size=5), "result": st.floats() | st.text()}
)


@given(ENTRIES)
def test_a_line_holds_its_entry_and_the_checksum_of_what_is_before_it(entry: dict[str, Any]) -> None:
    line = line_of(entry)
    body, _, check = line.rpartition(b',"crc32":"')
    assert check == b'%08x"}\n' % zlib.crc32(body)
    assert has_check(line[:-1])
    assert check_holds(line[:-1])
    (found,) = entries_of(line)
    assert json.dumps(found) == json.dumps(entry)


@given(ENTRIES, st.integers(min_value=0))
def test_no_flipped_bit_changes_an_entry_unseen(entry: dict[str, Any], place: int) -> None:
    line = bytearray(line_of(entry)[:-1])
    place %= len(line) * 8
    line[place // 8] ^= 1 << place % 8
    try:
        found = list(entries_of(bytes(line) + b"\n"))
    except LogInvalid:
        return
    # Only the check itself can be damaged without any harm: then it is no check any more, and the rest is whole.
    assert place // 8 >= len(line) - 20
    assert {name: json.dumps(found[0][name]) for name in entry} == {name: json.dumps(entry[name]) for name in entry}
