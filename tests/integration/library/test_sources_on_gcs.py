"""Resume sources in a bucket, read by fsspec's own file system for Google Cloud Storage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

# Read by gcsfs when it is imported: else it asks an endpoint that an emulator does not have, and waits for it.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

import fsspec
import gcsfs
import pytest

from integration.store.conftest import Emulator
from resumable_sweep import ResumableSweep
from resumable_sweep._foreign.mime_export import write_mime_progress
from resumable_sweep._sources import SourceUnreachable, fetched

pytestmark = pytest.mark.integration


@pytest.fixture
def put(emulator: Emulator, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """Function that puts a file and what lies beside it into the bucket, and returns the file's URL."""
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    # A file system remembers for good which server it was made for.
    gcsfs.GCSFileSystem.clear_instance_cache()

    def put_files(path: Path) -> str:
        filesystem = gcsfs.GCSFileSystem()
        for file in path.parent.iterdir():
            filesystem.pipe(f"{bucket}/run/{file.name}", file.read_bytes())
        return f"gs://{bucket}/run/{path.name}"

    return put_files


def test_a_sweep_goes_on_from_a_log_in_a_bucket(put: Callable[[Path], str], tmp_path: Path) -> None:
    log = tmp_path / "there" / "results.jsonl"
    with ResumableSweep(range(6), None, log, show_progress=False) as sweep:
        for item in [0, 1, 2, 3]:
            sweep.record(item, item**2)
    source = put(log)
    with ResumableSweep(
        range(6), None, tmp_path / "here" / "results.jsonl", resume_from=source, show_progress=False
    ) as sweep:
        assert sweep.completed == [0, 1, 4, 9]
        assert list(sweep.pending) == [4, 5]


def test_what_is_missing_is_a_fresh_start_and_what_is_damaged_has_an_older_state(
    put: Callable[[Path], str], tmp_path: Path
) -> None:
    progress = tmp_path / "there" / "out.progress.json"
    write_mime_progress(progress, [("a", 1)])
    write_mime_progress(progress, [("a", 1), ("b", 2)])
    source = put(progress)
    into = tmp_path / "here" / "progress"
    assert fetched(f"{source}.missing", into) is None
    found = fetched(source, into)
    assert found is not None
    assert (found.damage, found.path.read_bytes()) == (None, progress.read_bytes())
    progress.write_bytes(progress.read_bytes()[:-1])
    put(progress)
    found = fetched(source, into, pause=lambda _: None)
    assert found is not None
    assert found.damage is not None
    assert found.older is not None
    assert b'"b"' not in found.older.read_bytes()


def test_a_server_that_refuses_is_unreachable(
    put: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "there" / "results.jsonl"
    log.parent.mkdir()
    log.write_bytes(b"{}\n")
    source = put(log)

    async def refused(*_: object, **__: object) -> None:
        raise gcsfs.retry.HttpError({"code": 403, "message": "no rights"})

    monkeypatch.setattr(gcsfs.GCSFileSystem, "_info", refused)
    with pytest.raises(SourceUnreachable, match="no rights"):
        fetched(source, tmp_path / "here")
