from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import _scan
from resumable_sweep._ledger import Ledger, Record, State
from resumable_sweep._scan import Scan, scan
from resumable_sweep.contract.canonical import canonical_json, identity
from resumable_sweep.contract.log_format import CRC_BYTES, checked_line, line_of

PLAIN: list[Any] = [
    *range(40),
    *(f"item {n}" for n in range(40)),
    canonical_json({"lr": 0.1, "seed": 1}),
    *("", 'a "quoted" one', "back\\slash", ',"result":', 'x,"result":1', "ends in one\\", "новый ключ", "a\nb"),
    *(None, True, 1.5),
]
ITEMS = [*PLAIN, ",", [1, "two"], [], {"a": 1, "result": 2}, {"result": {"key": '","key":'}}]


def entry(kind: str, key: Any, number: int) -> bytes:
    """Return a line as the library writes it, or one that another writer may have written as well."""
    if kind == "started":
        return line_of({"kind": kind, "at": 1.7e9 + number / 8, "key": key})
    if kind == "done":
        return line_of({"kind": kind, "key": key, "result": {"n": number, "text": ',"result":'}, "attempt": None})
    if kind == "done with a file":
        return line_of({"kind": "done", "key": key, "result": {"$sweep.file": {"path": f"files/{number}"}}})
    if kind == "done elsewhere":
        return line_of({"result": number, "kind": "done", "key": key})
    if kind == "done with more":
        return line_of({"kind": "done", "key": key, "unknown": number, "result": number})
    if kind == "done with spaces":
        return checked_line(json.dumps({"kind": "done", "key": key, "result": number})[:-1].encode())
    if kind == "failed":
        return line_of({"kind": kind, "key": key, "error": "E", "traceback": "", "attempt": None})
    if kind == "skipped":
        return line_of({"kind": kind, "key": key, "why": "so", "attempt": None})
    return line_of({"kind": kind, "at": number})


def log_of(seed: int, kinds: list[str], weights: list[int], *, count: int, keys: list[Any]) -> list[bytes]:
    source = random.Random(seed)
    lines = [line_of({"kind": "header", "schema_version": 2, "run_id": None})]
    for number in range(count):
        kind = source.choices(kinds, weights)[0]
        lines.append(entry(kind, source.choice(keys), number))
    return lines


def read(path: Path, data: bytes, *, known: int) -> tuple[Scan, list[Any], dict[str, Record], list[int]]:
    """Return what a scan of `data` finds with the first `known` of `ITEMS` in the ledger."""
    path.write_bytes(data)
    ledger = Ledger()
    ledger.add_all([identity(key) for key in ITEMS[:known]], ITEMS[:known])
    file = os.open(path, os.O_RDONLY)
    try:
        found = scan(file, ledger.note)
    finally:
        os.close(file)
    found.digest = found.digest.hexdigest()
    standing = [(ledger.state(n), ledger.where(n), ledger.failures(n)) for n in range(known)]
    return found, standing, ledger.strays, [ledger.count(state) for state in State]


def assert_same_as_line_by_line(path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch, *, known: int) -> Scan:
    together = read(path, data, known=known)
    with monkeypatch.context() as one_by_one:
        one_by_one.setattr(_scan, "_FEW", len(data))
        alone = read(path, data, known=known)
    assert alone == together
    assert done_in_order(alone[2]) == done_in_order(together[2])
    return together[0]


def done_in_order(strays: dict[str, Record]) -> list[str]:
    return [name for name, one in strays.items() if one.state is State.DONE]


COMMON = ["started", "done"]
ALL = [
    *COMMON,
    "done with a file",
    "done elsewhere",
    "done with more",
    "done with spaces",
    "failed",
    "skipped",
    "other",
]
MIXES = {
    "common": (COMMON, [1, 1]),
    "files": ([*COMMON, "done with a file"], [9, 9, 1]),
    "failures": ([*COMMON, "failed", "skipped"], [40, 40, 1, 1]),
    "all": (ALL, [1] * len(ALL)),
    "results": (["done"], [1]),
    "starts": (["started"], [1]),
}


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("known", [0, 60, len(ITEMS)])
@pytest.mark.parametrize("keys", [PLAIN, ITEMS], ids=["plain", "any"])
@pytest.mark.parametrize("piece", [200, 4 << 10, 256 << 10])
def test_lines_taken_together_say_what_each_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mix: str, keys: list[Any], known: int, piece: int
) -> None:
    monkeypatch.setattr(_scan, "_PIECE_BYTES", piece)
    data = b"".join(log_of(known + len(keys), *MIXES[mix], count=600, keys=keys))
    found = assert_same_as_line_by_line(tmp_path / "log", data, monkeypatch, known=known)
    assert found.lines == 601
    assert found.checked == 601
    assert not found.damaged
    assert found.end == len(data)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_line_among_them_is_found_and_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    source = random.Random(seed)
    lines = log_of(seed, COMMON, [1, 1], count=200, keys=PLAIN)
    struck = source.randrange(1, len(lines))
    line = bytearray(lines[struck])
    # Anywhere, and where the checksum itself stands; the newline is another matter.
    place = source.choice([source.randrange(len(line) - 1), len(line) - 1 - source.randrange(1, CRC_BYTES)])
    line[place] = line[place] ^ 1 if line[place] ^ 1 != ord("\n") else line[place] ^ 2
    whole = read(tmp_path / "whole", b"".join(lines[:struck] + lines[struck + 1 :]), known=50)
    data = b"".join([*lines[:struck], bytes(line), *lines[struck + 1 :]])
    found = assert_same_as_line_by_line(tmp_path / "log", data, monkeypatch, known=50)
    assert [(one.offset, one.end) for one in found.damaged] == [
        (sum(map(len, lines[:struck])), sum(map(len, lines[: struck + 1])))
    ]
    states = [state for state, _, _ in read(tmp_path / "log", data, known=50)[1]]
    assert states == [state for state, _, _ in whole[1]]


def test_the_usual_lines_are_taken_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"".join(log_of(1, [*COMMON, "done with a file"], [9, 9, 1], count=600, keys=PLAIN))
    alone: list[bytes] = []
    take = _scan._take
    monkeypatch.setattr(_scan, "_take", lambda line, *given: (alone.append(line), take(line, *given))[1])
    read(tmp_path / "log", data, known=50)
    assert [line[:16] for line in alone] == [b'{"kind":"header"']


def test_states_are_those_of_the_last_entries_though_a_result_stands(tmp_path: Path) -> None:
    said = [("started", 1), ("done", 1), ("started", 1), ("failed", 1), ("failed", 2), ("started", 2), ("skipped", 3)]
    more = [("started", 5)] * 20 + [("done", 6), ("started", 6)] * 20
    data = b"".join(entry(kind, key, n) for n, (kind, key) in enumerate([*said, *more]))
    _, standing, _, counts = read(tmp_path / "log", data, known=8)
    states = [state for state, _, _ in standing]
    missing, in_progress, skipped, done = State.MISSING, State.IN_PROGRESS, State.SKIPPED, State.DONE
    assert states == [missing, done, in_progress, skipped, missing, in_progress, done, missing]
    assert [failures for _, _, failures in standing] == [0, 1, 1, 0, 0, 0, 0, 0]
    assert counts == [states.count(state) for state in State]


def test_results_in_the_order_of_the_items_stand_where_they_are(tmp_path: Path) -> None:
    twice = [*range(40), *range(10, 20)]
    lines = [entry("done", key, number) for number, key in enumerate(twice)]
    _, standing, _, counts = read(tmp_path / "log", b"".join(lines), known=40)
    last = {key: number for number, key in enumerate(twice)}
    assert [where for _, where, _ in standing] == [
        (sum(map(len, lines[: last[key]])), len(lines[last[key]]) - 1) for key in range(40)
    ]
    assert counts[State.DONE] == 40


def test_strays_are_in_the_order_in_which_they_were_done(tmp_path: Path) -> None:
    said = [*(("started", n) for n in range(20)), *(("done", n) for n in reversed(range(20)))]
    data = b"".join(entry(kind, key, n) for n, (kind, key) in enumerate(said))
    _, _, strays, _ = read(tmp_path / "log", data, known=0)
    assert [int(name) for name in strays] == list(reversed(range(20)))
    split = len(b"".join(entry(kind, key, n) for n, (kind, key) in enumerate(said[:20])))
    ledger = Ledger()
    (tmp_path / "log").write_bytes(data[:split])
    file = os.open(tmp_path / "log", os.O_RDWR)
    found = scan(file, ledger.note)
    os.pwrite(file, data[split:], split)
    scan(file, ledger.note, found)
    os.close(file)
    assert [int(name) for name in ledger.strays] == list(reversed(range(20)))


def test_a_line_of_many_pieces_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scan, "_PIECE_BYTES", 64)
    lines = [entry("done", 1, 1), line_of({"kind": "done", "key": 2, "result": "x" * 5000}), entry("done", 3, 3)]
    _, standing, _, _ = read(tmp_path / "log", b"".join(lines), known=4)
    assert [state for state, _, _ in standing] == [State.MISSING, State.DONE, State.DONE, State.DONE]


@pytest.mark.parametrize("more", [{}, {"attempt": None, "host": "here"}, {"a": ',"result":'}])
def test_an_entry_without_its_result_is_damaged(tmp_path: Path, more: dict[str, Any]) -> None:
    lines = [entry("done", key, key) for key in range(40)]
    lines[20] = line_of({"kind": "done", "key": 20, **more})
    found, standing, _, _ = read(tmp_path / "log", b"".join(lines), known=40)
    assert [one.reason for one in found.damaged] == [
        "line 21 is an entry of kind done that lacks result; remove that line, and its item runs again"
    ]
    assert [n for n, (state, _, _) in enumerate(standing) if state is not State.DONE] == [20]


@pytest.mark.parametrize("kind", COMMON)
@pytest.mark.parametrize("count", [0, 1, 100])
def test_the_log_is_complete_only_where_nothing_follows(tmp_path: Path, kind: str, count: int) -> None:
    complete = line_of({"kind": "complete", "total": 1, "keys_sha256": ""})
    lines = [entry("done", 1, 1), complete, *(entry(kind, 1, n) for n in range(count))]
    found, *_ = read(tmp_path / "log", b"".join(lines), known=4)
    assert (found.completion is None) == (count > 0)
