"""Every command `resumable-sweep store` that a page shows with its URL does what the page shows it for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep_sidecar.inspection.program import main
from unit.sidecar.run_on_disk import HEADER, RunOnDisk, done

ROOT = Path(__file__).parents[3]
COMMAND = re.compile(r"(?:^|^    |`|\$ )resumable-sweep store ([^`\n|]+)", re.MULTILINE)
RUN = re.compile(r"URL|gs://my-bucket/sweeps/default/.*")
ABOVE = re.compile(r"gs://\S+")


def shown() -> Iterator[object]:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for command in COMMAND.findall(page.read_text()):
            if any(RUN.fullmatch(word) or ABOVE.fullmatch(word) for word in command.split()):
                yield pytest.param(command, id=f"{page.stem}: {command}")


SHOWN = list(shown())


def test_commands_are_found() -> None:
    assert len(SHOWN) >= 10


@pytest.mark.parametrize("command", SHOWN)
def test_it_is_one_and_ends_well(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunOnDisk(tmp_path, shards=3)
    for shard in range(3):
        run.attempt(shard, [{"results.jsonl": HEADER + done(f"key {shard}", 1)}])
    monkeypatch.chdir(tmp_path)
    words = [RUN.sub(run.url, word) for word in shlex.split(command)]
    assert main([ABOVE.sub(run.top, word) for word in words]) == 0
