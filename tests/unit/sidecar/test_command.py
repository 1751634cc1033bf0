from __future__ import annotations

import json
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resumable_sweep.contract.outcome import Exit
from sweep_sidecar import layout
from sweep_sidecar.log.shard_log import LogReader
from unit.sidecar.whole_life import (
    Run,
    ask,
    expected,
    killed_again_and_again,
    killed_while_it_waits_for_the_store,
    port_of,
)

ITEMS = 60


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path, f"file://{tmp_path}/store/ns/sweep/run", items=ITEMS, shards=2, environment={})
    yield run
    run.close()


def test_a_run_whose_nodes_die_ends_like_an_uninterrupted_one(run: Run) -> None:
    killed_again_and_again(run, items=ITEMS, deaths=2, chance=random.Random(7))


def test_what_was_acknowledged_outlives_the_node(tmp_path: Path) -> None:
    run = Run(tmp_path, f"file://{tmp_path}/store/ns/sweep/run", items=ITEMS, shards=1, environment={})
    try:
        killed_while_it_waits_for_the_store(run, items=ITEMS, deaths=2, chance=random.Random(3))
    finally:
        run.close()


def test_a_program_that_waits_goes_on_when_its_mirror_was_started_again(run: Run) -> None:
    pod = run.pod_environment(0, 0) | {"SWEEP_INTERVAL": "600"}
    run.role("restore", expect=0, environment=pod)
    mirror = run.start_mirror(pod)
    writer = run.start_writer(pod, pause_s=0.0, durable_every=10)
    _wait(lambda: bool(run.durable()))
    mirror.send_signal(signal.SIGKILL)
    mirror.communicate()
    assert writer.poll() is None
    mirror = run.start_mirror(pod)
    assert writer.wait(60) == 0
    assert len(run.durable()) == ITEMS // 2
    # Without another look: the program was told that all of it is there.
    mirror.send_signal(signal.SIGKILL)
    mirror.communicate()
    outcome = run.role("restore", expect=0, environment=run.pod_environment(0, 1))
    assert outcome["details"]["items_restored"] == ITEMS // 2


def test_a_mirror_killed_and_started_again_in_place_goes_on_without_restoring(run: Run) -> None:
    pod = run.pod_environment(0, 0)
    run.role("restore", expect=0, environment=pod)
    mirror = run.start_mirror(pod)
    writer = run.start_writer(pod, pause_s=0.02)
    log = LogReader(run.store, layout.shard_folder("run", 0))
    _wait(lambda: _kind_at_head(log) == "gen")
    mirror.send_signal(signal.SIGKILL)
    mirror.communicate()
    head = log.head()
    assert head is not None
    mirror = run.start_mirror(pod)
    assert writer.wait(60) == 0
    mirror.send_signal(signal.SIGTERM)
    said, _ = mirror.communicate(timeout=60)
    assert json.loads(said)["reason"] == "Complete"
    kinds = [str(log.read(seq).entry.kind) for seq in range(head.entry.seq + 1, _head_seq(log) + 1)]
    assert set(kinds[:-1]) <= {"gen"}
    assert kinds[-1] == "complete"
    run.live(1, 1, kill_after_s=None, pause_s=0.0)
    assert run.merged() == expected(ITEMS)


def test_a_zombie_stops_for_good_and_changes_nothing(run: Run) -> None:
    """The node is cut off, its pod goes on; when it is back, its successor has the shard."""
    zombie = run.pod_environment(0, 0)
    run.role("restore", expect=0, environment=zombie)
    mirror = run.start_mirror(zombie)
    log = LogReader(run.store, layout.shard_folder("run", 0))
    mirror.send_signal(signal.SIGSTOP)
    stopped_at = time.monotonic()
    outcome = run.live(0, 1, kill_after_s=None, pause_s=0.0)
    assert outcome["reason"] == "Complete"
    head = _head_seq(log)
    writer = run.start_writer(zombie, pause_s=0.0)
    # Longer than the mirror waits for a signal at a time: that it goes on must not be taken for one.
    _wait(lambda: time.monotonic() > stopped_at + 1.5)
    mirror.send_signal(signal.SIGCONT)
    assert writer.wait(60) == 0
    assert ask(port_of(mirror.pid), "/flush") == 200
    assert ask(port_of(mirror.pid), "/healthz") == 200
    mirror.send_signal(signal.SIGTERM)
    said, _ = mirror.communicate(timeout=60)
    assert mirror.returncode == 0
    assert json.loads(said)["details"]["stage"] in ("stopped", "complete")
    assert _head_seq(log) == head


def test_a_late_pod_is_told_that_the_shard_is_complete_or_taken(run: Run) -> None:
    run.live(0, 5, kill_after_s=0.3)
    outcome = run.role("restore", expect=Exit.SUPERSEDED, environment=run.pod_environment(0, 4))
    assert outcome["reason"] == "Superseded"
    assert outcome["details"] == {"head_attempt": 5}
    run.live(0, 6, kill_after_s=None, pause_s=0.0)
    outcome = run.role("restore", expect=Exit.COMPLETE, environment=run.pod_environment(0, 7))
    assert outcome["reason"] == "Complete"


def test_a_late_pod_says_how_many_items_the_complete_shard_has(run: Run) -> None:
    run.live(0, 1, kill_after_s=None, pause_s=0.0)
    details = run.role("restore", expect=Exit.COMPLETE, environment=run.pod_environment(0, 2))["details"]
    assert (details["stage"], details["attempt"]) == ("complete", 2)
    assert [details[f"items_{what}"] for what in ("done", "recorded", "restored")] == [ITEMS // 2] * 3


def test_the_stop_hook_flushes_at_once(run: Run) -> None:
    pod = {**run.pod_environment(0, 0), "SWEEP_INTERVAL": "600", "SWEEP_STOP_PATH": "/stop/abc"}
    run.role("restore", expect=0, environment=pod)
    mirror = run.start_mirror(pod)
    port = port_of(mirror.pid)
    assert ask(port, "/stop/wrong") == 404
    log = LogReader(run.store, layout.shard_folder("run", 0))
    assert run.start_writer(pod, pause_s=0.0).wait(60) == 0
    assert _kind_at_head(log) == "base"
    assert ask(port, "/stop/abc") == 200
    _wait(lambda: _kind_at_head(log) == "gen")
    mirror.send_signal(signal.SIGTERM)
    said, _ = mirror.communicate(timeout=60)
    # The hook forfeits the exit code's word, not that of the items: they are all there.
    assert json.loads(said)["reason"] == "Complete"


def test_an_incomplete_run_is_not_merged(run: Run) -> None:
    run.live(0, 0, kill_after_s=None, pause_s=0.0)
    outcome = run.role("merge", expect=Exit.INCOMPLETE)
    assert outcome["reason"] == "Incomplete"
    assert "shard 1 ends in nothing" in outcome["message"]


def test_what_the_environment_lacks_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sweep_sidecar", "restore"], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.USAGE
    assert "SWEEP_STORE_URL is not set" in json.loads(done.stdout)["message"]


def test_a_mirror_without_a_restore_ends_at_once(run: Run) -> None:
    outcome = run.role("mirror", expect=Exit.FAILED, environment=run.pod_environment(0, 0))
    assert "run `restore` first" in outcome["message"]


def test_an_attempts_containers_do_not_wait_for_what_only_a_runs_pods_need() -> None:
    program = "import sys, sweep_sidecar.command; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "sweep_sidecar.mirror.life" in loaded
    assert not {name for name in loaded if name.startswith(("sweep_sidecar.housekeeping", "sweep_sidecar.inspection"))}
    assert not loaded & {"fsspec", "aiohttp", "gcsfs", "s3fs", "adlfs"}


def _wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def _kind_at_head(log: LogReader) -> str:
    head = log.head()
    return str(head.entry.kind) if head else ""


def _head_seq(log: LogReader) -> int:
    head = log.head()
    assert head is not None
    return head.entry.seq


@pytest.mark.parametrize(("shared", "folder", "file"), [("1", 0o775, 0o660), ("", 0o755, 0o600)])
def test_what_comes_back_is_writable_by_its_group_where_only_that_is_shared(
    run: Run, shared: str, folder: int, file: int
) -> None:
    pod = run.pod_environment(0, 0)
    run.role("restore", expect=0, environment=pod)
    written = Path(pod["SWEEP_SNAPSHOT_DIR"]) / "deep" / "own.bin"
    written.parent.mkdir()
    written.write_bytes(b"content")
    written.chmod(0o600)
    mirror = run.start_mirror(pod)
    assert run.start_writer(pod, pause_s=0.0).wait(60) == 0
    mirror.send_signal(signal.SIGTERM)
    mirror.communicate(timeout=60)
    log = LogReader(run.store, layout.shard_folder("run", 0))
    head = log.head()
    assert head is not None
    assert head.entry.kind == "complete"
    elsewhere = run.pod_environment(0, 1) | {"SWEEP_RUN_ID": "other", "SWEEP_START_FROM": str(run.store.url)}
    elsewhere |= {"SWEEP_STORE_URL": f"{run.store.url.rpartition('/')[0]}/other", "SWEEP_ITEMS_SHA256": ""}
    run.role("restore", expect=0, environment=elsewhere | {"SWEEP_SHARED_BY_GROUP": shared})
    back = Path(elsewhere["SWEEP_SNAPSHOT_DIR"]) / "deep" / "own.bin"
    assert stat.S_IMODE(back.stat().st_mode) == file
    assert stat.S_IMODE(back.parent.stat().st_mode) == folder
    assert stat.S_IMODE((back.parent.parent / ".sweep").stat().st_mode) == folder
