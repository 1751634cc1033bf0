"""Files that are made from the code: written, or compared with what stands in the repository."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def run_generator(files: Mapping[str, str], *, description: str, arguments: Sequence[str] | None = None) -> int:
    """Write `files` (path in the repository: content), or with `--check` compare them; return the exit code.

    The code is 1 where a file differs, and the difference is printed.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where a file is not up to date"
    )
    check = parser.parse_args(arguments).check
    if not (REPOSITORY / "pyproject.toml").exists():
        parser.error("this works only in a checkout of the repository, not in an installed package")
    return _check(files) if check else _write(files)


def _check(files: Mapping[str, str]) -> int:
    code = 0
    for name, content in files.items():
        path = REPOSITORY / name
        present = path.read_text() if path.exists() else ""
        if present != content:
            code = 1
            sys.stdout.writelines(
                difflib.unified_diff(
                    present.splitlines(keepends=True),
                    content.splitlines(keepends=True),
                    fromfile=name,
                    tofile=f"{name} (as generated)",
                )
            )
    return code


def _write(files: Mapping[str, str]) -> int:
    for name, content in files.items():
        path = REPOSITORY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        print(f"wrote {name}")
    return 0
