"""Files and names that outlive a crash."""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Return once the names in `folder` are on disk: fsync of a file does not cover its name (man 2 fsync)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(target: Path, text: str) -> None:
    """Write a file whole or not at all, under its name once this returns."""
    staged = target.with_name(f"{target.name}.tmp")
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(target)
    sync_folder(target.parent)
