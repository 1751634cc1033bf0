"""A directory that is written to at each scan of a look: what counts in the end, when nothing stricter holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep_sidecar.capture import capturer
from sweep_sidecar.capture.passing import STRICT_TRIES, TRIES
from sweep_sidecar.capture.tree import Tree, tree_of
from unit.sidecar.captured_shard import Shard


class Writing:
    """A program that writes before each scan of a look."""

    def __init__(self, shard: Shard, write: Callable[[int], None]) -> None:
        self._shard = shard
        self._write = write
        self.scans = 0

    def scan(self, root: Path, folder: str = "") -> Tree:
        self.scans += 1
        self._write(self.scans)
        return tree_of(root, folder)


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    shard = Shard(tmp_path / "snapshot")
    shard.write("data", b"")
    return shard


def records(shard: Shard, number: int) -> None:
    shard.write_pair("state", b"knows of %d" % number)


def renamed(shard: Shard, number: int) -> None:
    shard.write("data", b"%03d" % number)


def renamed_and_larger(shard: Shard, number: int) -> None:
    shard.write("data", b"x" * number)


def written_over(shard: Shard, number: int) -> None:
    (shard.root / "data").write_bytes(b"%03d" % number)
    os.utime(shard.root / "data", ns=(number, number))  # the kernel's clock may tick too slowly to show it


@pytest.mark.parametrize("replace", [renamed, renamed_and_larger, written_over])
def test_data_that_came_in_place_of_others_is_not_taken_with_a_record_that_was_written_anew(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, replace: Callable[[Shard, int], None]
) -> None:
    """The record is older than the data by then: it was there with those that were replaced, and with no others."""

    def write(number: int) -> None:
        replace(shard, 2 * number)
        records(shard, number)
        replace(shard, 2 * number + 1)

    writing = Writing(shard, write)
    monkeypatch.setattr(capturer, "tree_of", writing.scan)
    look = shard.capturer.look()
    assert look.is_torn
    assert look.files == {}
    assert writing.scans > 2 * TRIES


def test_data_that_only_grew_is_taken_with_it(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the record may know of is in them still."""

    def write(number: int) -> None:
        shard.append("data", b"%d\n" % number)
        records(shard, number)

    writing = Writing(shard, write)
    monkeypatch.setattr(capturer, "tree_of", writing.scan)
    look = shard.capturer.look()
    assert not look.is_torn
    assert writing.scans > 2 * STRICT_TRIES
    shard.publish(look)
    stored = shard.stored()
    known = int(stored["state"].removeprefix(b"knows of "))
    lines = stored["data"].splitlines()
    assert b"%d" % known in lines
    assert lines == [b"%d" % number for number in range(1, len(lines) + 1)]
