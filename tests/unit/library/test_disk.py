from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from resumable_sweep._disk import copy_aside, make_folder, replace_whole, sync_folder

CHANGES: dict[str, Callable[[Path], None]] = {
    "replace_whole": lambda path: replace_whole(path, b"new"),
    "copy_aside": lambda path: copy_aside(path.with_name("source"), path),
    "sync_folder": lambda path: sync_folder(path.parent),
}


@pytest.mark.parametrize(
    ("change", "call"),
    [
        ("replace_whole", "pwrite"),
        ("replace_whole", "fsync"),
        ("copy_aside", "pwrite"),
        ("copy_aside", "fsync"),
        ("sync_folder", "fsync"),
    ],
)
def test_an_error_of_the_disk_names_the_file_and_leaves_it(
    change: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / "source").write_bytes(b"source")

    def refuse(*given: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(OSError, match="Input/output error") as caught:
            CHANGES[change](path)
    assert str(caught.value.filename).startswith(str(tmp_path))
    assert path.read_bytes() == b"old"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["file", "source"]


def test_a_folder_that_somebody_else_made_gets_its_name_on_disk_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()  # and then its maker was killed
    synced, fsync = [], os.fsync

    def noting(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink())
        fsync(file)

    monkeypatch.setattr(os, "fsync", noting)
    make_folder(folder)
    assert synced == [tmp_path]
    make_folder(folder)
    assert synced == [tmp_path]
