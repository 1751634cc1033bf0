"""Run programs and keep what they said when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.errors import RigError


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    ``env`` is added to this process's own environment. Raises ``RigError`` with the program's last lines of output.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, env={**os.environ, **(env or {})}, cwd=cwd, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise RigError(
            f"program {words[0]!r} is not installed; `testbed prepare` installs what the testbed needs"
        ) from error
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise RigError(f"`{' '.join(words)[:300]}` failed with exit status {done.returncode}:\n{said}")
    return done.stdout
