"""What the task pages on the library show is what happens: their programs are run, and their sessions compared."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import ResumableSweep
from unit.library.page import TASKS, Command, blocks_of, play

PAGES = [
    "handle-failures",
    "keep-large-results",
    "keep-runs-apart",
    "make-records-cheaper-or-safer",
    "notice-changes",
    "resume-from-elsewhere",
    "run-in-parallel",
    "split-over-machines",
    "stop-in-time",
    "use-random-numbers",
]


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def example_org(tmp_path: Path) -> Iterator[str]:
    """Address of a server that has what `resume-from-elsewhere` finds at https://example.org."""
    folder = tmp_path / "example.org"
    with ResumableSweep(range(4), checkpoint_path=folder / "monday" / "results.jsonl") as sweep:
        for x in (0, 1):
            sweep.record(x, 10 * x)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def write_foreign_checkpoints(folder: Path) -> None:
    """Write what mime-engine 0.2.0 and gmat-sweep 0.6.0 would have left there."""
    progress = json.dumps({"completed": [{"key": "a", "result": {"score": 1}}]}, indent=1)
    (folder / "theirs.progress.json").write_text(progress)
    header = {"schema_version": 1, "script_sha256": "0" * 64, "gmat_sweep_version": "0.6.0", "run_count": 2}
    run: dict[str, Any] = {"run_id": 0, "status": "ok", "overrides": {"SMA": 7000.0}, "stderr": None}
    run |= {"started_at": "2026-11-20T10:00:00+00:00", "ended_at": "2026-11-20T10:00:09+00:00"}
    (folder / "manifest.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(run)}\n")


@pytest.mark.parametrize("name", PAGES)
def test_the_sessions_of_the_page_are_what_happens(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    instead = {}
    if name == "resume-from-elsewhere":
        instead["https://example.org"] = request.getfixturevalue("example_org")
        write_foreign_checkpoints(folder)
    played = play((TASKS / f"{name}.md").read_text(), folder, instead=instead)
    assert played
    for command, output in played:
        assert command.fits(output), f"$ {command.line}\n{output}\nbut the page shows\n{command.shown}"


@pytest.mark.parametrize("name", PAGES)
def test_every_program_of_the_page_is_run(name: str) -> None:
    blocks = blocks_of((TASKS / f"{name}.md").read_text())
    sessions = "".join(block.text for block in blocks if block.language == "console")
    programs = [block.name for block in blocks if block.language == "python"]
    assert programs
    assert [program for program in programs if f"python {program}" not in sessions] == []


def test_an_output_fits_only_what_is_shown_of_it() -> None:
    assert Command("x", "a ... c\n").fits("a b\nb c\n")
    assert not Command("x", "a ... c\n").fits("a b c d\n")
    assert not Command("x", "").fits("a warning\n")
    assert blocks_of("```python a.py\n1\n```\n```text\n2\n```\n")[0].name == "a.py"
