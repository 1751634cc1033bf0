"""What docs/reference/store.md says, held against the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from sweep_sidecar import layout
from sweep_sidecar.capture import steady
from sweep_sidecar.capture.capturer import Capturer
from sweep_sidecar.content import BLOB_BYTES, store_blob
from sweep_sidecar.log.entry import Entry, Kind, Writer
from sweep_sidecar.log.generation import Generation
from sweep_sidecar.log.shard_log import ShardLog
from sweep_sidecar.store.local import LocalStore

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "store.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([\w.*]+)`", cell)]


def test_every_field_and_kind_of_an_entry_is_described() -> None:
    entry = Entry(seq=0, kind=Kind.TAKE, writer=Writer(1, "p", "n"), prev_sha256="", time=0.0)
    fields = set(json.loads(entry.to_bytes()))
    kinds = {str(kind) for kind in Kind}
    assert set(first_cells(section("Log entries"))) == fields | kinds | {"proof", "log", "items", "exit"}


def test_the_names_are_those_of_the_code() -> None:
    assert f"{layout.shard_folder('run-1', 3)}/log/999999999999.json" in PAGE
    assert layout.entry_key("x", 1).removeprefix("x") in PAGE
    for key in (layout.merged_key, layout.provenance_key, layout.skipped_key):
        assert f"`{key('<digest>')}`" in section("Merged results")
    assert steady.INLINE_BYTES == 64 << 10
    assert BLOB_BYTES == 8 << 20


def test_the_program_on_the_page_restores_a_shard(tmp_path: Path) -> None:
    snapshot, run, target = tmp_path / "snapshot", tmp_path / "run", tmp_path / "target"
    (snapshot / "deep").mkdir(parents=True)
    target.mkdir()
    store = LocalStore(run)
    folder = layout.shard_folder("run-1", 3)
    log = ShardLog(store, folder, writer=Writer(1, "p", "n"), clock=lambda: 0.0)
    log.take({})
    log.append(Kind.BASE, {"generation": None, "skipped": []})
    capturer = Capturer(snapshot, lambda data: store_blob(store, data, nonce=lambda: "n"))
    for number in range(3):
        with (snapshot / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(f'{{"line": {number}, "text": "é\u2028"}}\n')
        (snapshot / "deep" / "state.bin").write_bytes(bytes([0xFF, number]))
        (snapshot / "big.bin").write_bytes(bytes([number]) * 100_000)
        look = capturer.look()
        generation = Generation(files=look.files, items_done=0, progress=look.progress)
        capturer.published(log.append(Kind.GEN, generation.to_body()).entry.seq)
    program = section("Restoring by hand").split("```python\n")[1].split("```")[0]
    subprocess.run([sys.executable, "-c", program, str(run), folder, str(target)], check=True)
    for path in ("results.jsonl", "deep/state.bin", "big.bin"):
        assert (target / path).read_bytes() == (snapshot / path).read_bytes()
