from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.sidecar_pod import Pod, fill
from resumable_sweep.contract import environment as names


def pod(folder: Path, *, attempt: int = 0, **variables: object) -> Pod:
    return Pod(folder, f"file://{folder}/store/run", {}, attempt=attempt, **variables)


def test_what_a_mirror_has_stored_the_next_pod_has(tmp_path: Path) -> None:
    first, second = pod(tmp_path), pod(tmp_path, attempt=1)
    first.restored()
    with first.mirror() as mirror:
        mirror.wait_until_healthy()
        fill(first.snapshot, count=2, size=3 << 19)
        cost = mirror.sealed()
        assert not list(Path("/proc").glob(f"{mirror.pid}/status"))
    assert cost.cpu_s > 0
    second.restored()
    mine, theirs = ({path.name: path.read_bytes() for path in one.snapshot.glob("*.bin")} for one in (first, second))
    assert [len(content) for content in mine.values()] == [3 << 19] * 2
    assert mine == theirs


def test_a_peak_of_memory_is_its_own_and_not_that_of_who_started_it(tmp_path: Path) -> None:
    mine = os.urandom(1 << 20) * 300
    assert 10 < pod(tmp_path).restored().peak_mib < 200
    assert len(mine) == 300 << 20


def test_why_a_container_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"exited 64: .*SWEEP_INTERVAL is 'often': it must be a number of seconds"):
        pod(tmp_path, **{names.INTERVAL: "often"}).restored()


def test_a_mirror_does_not_outlive_what_went_wrong_beside_it(tmp_path: Path) -> None:
    one = pod(tmp_path)
    one.restored()
    mirror = one.mirror()

    def go_wrong() -> None:
        with mirror:
            mirror.wait_until_healthy()
            assert mirror.is_running
            raise KeyError

    with pytest.raises(KeyError):
        go_wrong()
    assert not Path(f"/proc/{mirror.pid}").exists()


def test_the_surroundings_variables_are_not_the_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.REPORT_URL, "http://127.0.0.1:9")
    assert names.REPORT_URL not in pod(tmp_path).environment
