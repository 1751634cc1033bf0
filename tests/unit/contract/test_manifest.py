from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from resumable_sweep.contract.manifest import Manifest, manifest_path, parsed_manifest, sha256_of_file


def test_it_reads_back_what_it_wrote() -> None:
    manifest = Manifest(sha256="ab" * 32, size_bytes=5, extra={"step": 3})
    assert parsed_manifest(manifest.to_json()) == manifest


def test_the_text_has_the_four_public_fields() -> None:
    assert json.loads(Manifest(sha256="ab", size_bytes=5).to_json()) == {
        "schema_version": 1,
        "sha256": "ab",
        "size_bytes": 5,
        "extra": {},
    }


def test_it_lies_beside_its_file() -> None:
    assert manifest_path(Path("/a/results.jsonl")) == Path("/a/results.jsonl.manifest.json")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"sha256": "a"}', "lacks size_bytes"),
        ("{}", "lacks sha256 and size_bytes"),
        ("[]", "a manifest is a JSON object, not list"),
        ("no JSON", "Expecting value"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        parsed_manifest(text)


def test_the_digest_of_a_file_longer_than_a_piece(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000  # 1.28 MB, over the 1 MiB that is read at once
    (tmp_path / "big").write_bytes(data)
    assert sha256_of_file(tmp_path / "big") == (hashlib.sha256(data).hexdigest(), len(data))
