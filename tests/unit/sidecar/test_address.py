from __future__ import annotations

from pathlib import Path

import pytest

from sweep_sidecar.store import UrlUnsupported, open_store


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/tmp/x", "'/tmp/x' is no URL: use gs://BUCKET/FOLDER or file:///FOLDER"),
        ("", "is no URL"),
        ("s3://bucket/x", "no store for s3://"),
        ("az://bucket/x", "no store for az://"),
        ("file://relative/path", "names no absolute path"),
        ("gs:///folder", "names no bucket"),
    ],
)
def test_what_is_not_supported_is_said(url: str, message: str) -> None:
    with pytest.raises(UrlUnsupported, match=message):
        open_store(url)


def test_characters_that_mean_something_in_other_urls_are_plain(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/a#b?c%20d/")
    store.create("key", b"x")
    assert (tmp_path / "a#b?c%20d" / "key").read_bytes() == b"x"
    assert store.url == f"file://{tmp_path}/a#b?c%20d"


def test_gcs_without_credentials_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sweep_sidecar.store import Unreachable

    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(Unreachable, match="no credentials for gs://bucket/run"):
        open_store("gs://bucket/run")
