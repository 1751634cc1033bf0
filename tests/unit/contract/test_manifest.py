from __future__ import annotations

import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep.contract.manifest import (
    FileOf,
    Manifest,
    awaited_name,
    manifest_path,
    parsed_manifest,
    pending_path,
    sha256_of_file,
    sha256_of_files,
    unreadable,
)


def test_it_reads_back_what_it_wrote() -> None:
    manifest = Manifest(sha256="ab" * 32, size_bytes=5, extra={"step": 3})
    assert parsed_manifest(manifest.to_json()) == manifest


def test_the_text_has_the_public_fields_and_their_checksum() -> None:
    assert json.loads(Manifest(sha256="ab", size_bytes=5).to_json()) == {
        "schema_version": 1,
        "sha256": "ab",
        "size_bytes": 5,
        "extra": {},
        "crc32": format(zlib.crc32(b'{"extra":{},"schema_version":1,"sha256":"ab","size_bytes":5}'), "08x"),
    }


@pytest.mark.parametrize(
    "extra",
    [
        {9: "a", 10: "b", "9.5": (1, 2)},
        {"t": 0.1 + 0.2, "lost": float("nan"), "name": "\ud800ü"},
        1.5,
        ["a"],
        "text",
        0,
    ],
)
def test_whatever_json_can_hold_is_an_extra(extra: Any) -> None:
    expected = json.dumps(json.loads(json.dumps(extra)), sort_keys=True)
    ours = Manifest(sha256="ab", size_bytes=5, extra=extra).to_json()
    theirs = json.dumps({"schema_version": 1, "sha256": "ab", "size_bytes": 5, "extra": extra})
    for text in (ours, theirs):
        assert json.dumps(parsed_manifest(text).extra, sort_keys=True) == expected


def test_no_flipped_bit_changes_what_a_manifest_says() -> None:
    files = (FileOf("a", "cd", 3), FileOf("b/c", "ef", 2))
    manifest = Manifest(sha256=sha256_of_files(files), size_bytes=5, extra={"step": 100, "loss": 0.25}, files=files)
    text = manifest.to_json().encode()
    refused = 0
    for place in range(len(text) * 8):
        damaged = bytearray(text)
        damaged[place // 8] ^= 1 << place % 8
        try:
            assert parsed_manifest(bytes(damaged)) == manifest
        except ValueError:
            refused += 1
    assert refused > len(text)


def test_the_digest_of_a_directory_does_not_depend_on_the_order_of_its_files() -> None:
    files = [FileOf("b", "cd", 3), FileOf("a/c", "ef", 2)]
    expected = hashlib.sha256(b'[["a/c","ef",2],["b","cd",3]]').hexdigest()
    assert sha256_of_files(files) == sha256_of_files(reversed(files)) == expected


@pytest.mark.parametrize(("version", "match"), [(0, "reads 1: write it anew"), (2, "version 2, .*a newer resumable")])
def test_another_schema_version_is_told(version: int, match: str) -> None:
    manifest = Manifest(sha256="ab", size_bytes=5, schema_version=version)
    assert unreadable(parsed_manifest(manifest.to_json())) is not None
    assert re.search(match, str(unreadable(manifest)))
    assert unreadable(Manifest(sha256="ab", size_bytes=5)) is None


def test_it_lies_beside_its_file() -> None:
    assert manifest_path(Path("/a/results.jsonl")) == Path("/a/results.jsonl.manifest.json")


def test_a_manifest_on_its_way_says_which_checkpoint_waits_for_it() -> None:
    assert pending_path(Path("/a/state.npz")) == Path("/a/.state.npz.manifest.json.tmp.pending")
    assert awaited_name(pending_path(Path("/a/state.npz")).name) == "state.npz"
    assert awaited_name("state.npz.manifest.json") is None
    assert awaited_name(".state.npz.tmp.4711") is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"sha256": "a"}', "lacks size_bytes"),
        ("{}", "lacks sha256 and size_bytes"),
        ("[]", "a manifest is a JSON object, not list"),
        ("no JSON", "Expecting value"),
        ('{"sha256": "a", "size_bytes": null}', "not what it should be"),
        ('{"sha256": "a", "size_bytes": 1, "files": [1]}', "not what it should be"),
        ('{"sha256": "a", "size_bytes": 1, "crc32": "00000000"}', "its own checksum '00000000'"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        parsed_manifest(text)


def test_the_digest_of_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000  # 1.28 MB, over the 1 MiB that is read at once
    (tmp_path / "big").write_bytes(data)
    assert sha256_of_file(tmp_path / "big") == (hashlib.sha256(data).hexdigest(), len(data))
