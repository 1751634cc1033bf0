"""The command on a real server of an object store's protocol, on a run that real sidecars have left there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep.contract.outcome import Exit
from sweep_sidecar import layout
from sweep_sidecar.retaining import Span, begun_at, doomed, let_go
from unit.sidecar.run_on_disk import files_in
from unit.sidecar.whole_life import Run, expected

pytestmark = pytest.mark.integration
ITEMS = 30


@pytest.fixture
def run(bucket: str, tmp_path: Path) -> Iterator[Run]:
    environment = {"STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"]}
    url = f"gs://{bucket}/sweeps/ns/sweep/run"
    run = Run(tmp_path, url, items=ITEMS, shards=1, environment=environment)
    run.live(0, 0, kill_after_s=0.6)
    yield run
    run.close()


def typed(*words: str, expect: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sweep_sidecar", "store", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


def listed(url: str) -> Any:
    (found,) = json.loads(typed("ls", url, "--json"))
    return found


def test_a_run_is_looked_into_from_its_killing_to_its_sweeping(run: Run, bucket: str, tmp_path: Path) -> None:
    url = run.store.url
    assert listed(f"gs://{bucket}")["shard_list"][0]["state"] == "open"
    typed("merge", url, expect=86)
    typed("verify", url, "--deep")
    assert run.live(0, 1, kill_after_s=None, pause_s=0.001)["reason"] == "Complete"

    found = listed(f"gs://{bucket}/sweeps/ns")
    assert (found["url"], found["complete"], found["items_done"]) == (url, 1, ITEMS)
    kinds = [row["kind"] for row in json.loads(typed("log", url, "--shard", "0", "--json"))]
    assert (kinds.count("take"), kinds[-1]) == (2, "complete")
    typed("merge", url, "-o", str(tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_bytes() == expected(ITEMS) == run.merged()

    typed("restore", url, "--shard", "0", "--to", str(tmp_path / "restored"))
    left = tmp_path / "pod-0-1"
    on_disk = {path: data for path, data in files_in(left).items() if not path.startswith(".sweep/")}
    assert files_in(tmp_path / "restored") == on_disk

    run.store.create(f"blobs/{'0' * 64}", b"sent by an attempt that was killed before it could publish it")
    assert "its newest entry is" in typed("gc", url, "--keep", "1")
    assert "deleted" in typed("gc", url, "--keep", "1", "--older-than", "0s")
    assert run.store.list("blobs/") == []
    assert run.store.list("retired/") != []
    typed("verify", url, "--deep")
    typed("restore", url, "--shard", "0", "--to", str(tmp_path / "again"))
    assert files_in(tmp_path / "again") == on_disk
    typed("merge", url, "-o", str(tmp_path / "again.jsonl"))
    assert (tmp_path / "again.jsonl").read_bytes() == expected(ITEMS)


def test_what_is_missing_from_the_bucket_is_found(run: Run) -> None:
    url = run.store.url
    run.store.delete(layout.entry_key(layout.shard_folder("run", 0), 0))
    assert "entry 0 is missing from the log" in typed("verify", url, expect=1)


def test_the_role_deletes_beside_attempts_and_more_at_the_end(run: Run, tmp_path: Path) -> None:
    store = run.store
    role = ("retain", "--generations", "1", "--after", "86400")
    unneeded = f"blobs/{'0' * 64}.word"
    store.create(unneeded, b"sent, and never published")
    before = {found.key for found in store.list("")}
    outcome = run.role(*role, expect=0)
    assert (outcome["reason"], outcome["details"]["blobs"]) == ("Retained", 0)
    assert {found.key for found in store.list("")} == before
    # The same two days later, by the server's clock.
    span = Span(generations=1, after_s=86_400.0)
    began = begun_at(store, nonce=lambda: "n") + 2 * 86_400
    going = doomed(store, run_id="run", shards=1, span=span, began=began)
    assert unneeded in going.blobs
    let_go(store, going, span=span, time=0.0)
    assert unneeded not in {found.key for found in store.list("")}
    typed("verify", store.url, "--deep")
    assert run.live(0, 1, kill_after_s=None, pause_s=0.001)["reason"] == "Complete"
    merged = run.merged()
    young = f"blobs/{'1' * 64}.word"
    store.create(young, b"sent by an attempt that was shut out")
    outcome = run.role(*role, expect=0)
    assert (outcome["reason"], outcome["details"]["left_alone"]) == ("Retained", "")
    assert outcome["details"]["blobs"] == 1
    assert young not in {found.key for found in store.list("")}
    assert run.merged() == merged == expected(ITEMS)
    typed("verify", store.url, "--deep")
    assert "wait for 24 hours" in run.role(*role[:-1], "60", expect=Exit.USAGE)["message"]
