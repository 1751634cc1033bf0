"""A restore that is begun ahead of time, beside the attempt that it is to follow."""

from __future__ import annotations

import itertools
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resumable_sweep.contract.outcome import Exit
from resumable_sweep.contract.report import Answer, Report, Stage
from sweep_sidecar import layout
from sweep_sidecar.log.fencing import ShardComplete, Superseded
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.restore import Restored, report_of, restored_attempt
from sweep_sidecar.restore_progress import RestoreProgress
from sweep_sidecar.succession import LOOK_EVERY_S, Turn
from unit.sidecar.http_operator import HttpOperator
from unit.sidecar.pods import HEADER, Cluster, last_line, line, never
from unit.sidecar.whole_life import Run, expected

MOST_S = 30
ITEMS = 20


class Waiting:
    """A clock, and what happens at each second of the waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happens: dict[int, Callable[[], object]] = {}

    def turn(self, most_s: float = MOST_S) -> Turn:
        return Turn(most_s, monotonic=lambda: self.now, wait_on=self._wait_on)

    def _wait_on(self, event: threading.Event, seconds: float) -> bool:
        assert seconds <= LOOK_EVERY_S
        self.now += seconds
        self.happens.pop(round(self.now), lambda: None)()
        return event.is_set()


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture
def writer(cluster: Cluster) -> AttemptWriter:
    """Attempt 1, which has stored one item."""
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(0))
    writer.look()
    return writer


def restore(cluster: Cluster, turn: Turn, attempt: int = 2) -> Restored:
    return restored_attempt(cluster.store, cluster.settings(attempt), nonce=cluster.nonce, clock=lambda: 1.0, turn=turn)


def test_it_takes_over_at_the_seal_with_all_that_was_stored_until_then(
    cluster: Cluster, writer: AttemptWriter, waiting: Waiting
) -> None:
    def end() -> None:
        cluster.append(1, line(1))
        writer.finish(never)

    waiting.happens[7] = end
    restored = restore(cluster, waiting.turn())
    assert (restored.items, waiting.now) == (2, 7)
    assert cluster.kinds()[-3:] == ["seal", "take", "base"]


def test_until_then_the_attempt_before_goes_on(cluster: Cluster, writer: AttemptWriter, waiting: Waiting) -> None:
    for second in range(1, 20):
        waiting.happens[second] = lambda second=second: (cluster.append(1, line(second)), writer.look())
    restored = restore(cluster, waiting.turn(20))
    assert (restored.items, waiting.now) == (20, 20)


def test_it_takes_over_when_its_time_is_up(cluster: Cluster, writer: AttemptWriter, waiting: Waiting) -> None:
    assert restore(cluster, waiting.turn()).items == 1
    assert waiting.now == MOST_S
    cluster.append(1, line(1))
    writer.look()
    assert writer.report.stage is Stage.STOPPED


def test_it_takes_over_when_the_operator_says_so(cluster: Cluster, writer: AttemptWriter, waiting: Waiting) -> None:
    turn = waiting.turn()
    waiting.happens[2] = lambda: turn.hear(Answer())
    waiting.happens[4] = lambda: turn.hear(Answer(may_take=True))
    assert restore(cluster, turn).items == 1
    assert waiting.now == 4


def test_it_finds_the_shard_complete(cluster: Cluster, writer: AttemptWriter, waiting: Waiting) -> None:
    def complete() -> None:
        cluster.append(1, last_line(0))
        writer.finish(never)

    waiting.happens[3] = complete
    with pytest.raises(ShardComplete):
        restore(cluster, waiting.turn())
    assert waiting.now == 3


def test_it_finds_itself_superseded(cluster: Cluster, writer: AttemptWriter, waiting: Waiting) -> None:
    waiting.happens[3] = lambda: cluster.restore(3)
    with pytest.raises(Superseded):
        restore(cluster, waiting.turn())
    assert waiting.now == 3


def test_where_nothing_is_stored_there_is_nobody_to_wait_for(cluster: Cluster, waiting: Waiting) -> None:
    assert restore(cluster, waiting.turn()).generation is None
    assert waiting.now == 0


def test_an_attempt_that_is_not_ahead_of_time_does_not_wait(
    cluster: Cluster, writer: AttemptWriter, waiting: Waiting
) -> None:
    cluster.store.calls.clear()
    restore(cluster, waiting.turn(0))
    looks = [call for call in cluster.store.calls if call == ("list", layout.log_prefix(cluster.settings(2).folder))]
    assert (len(looks), waiting.now) == (1, 0)


def test_a_look_at_a_log_that_stands_still_is_one_page(
    cluster: Cluster, writer: AttemptWriter, waiting: Waiting
) -> None:
    calls: list[list[tuple[str, str]]] = []

    def count() -> None:
        calls.append(list(cluster.store.calls))
        cluster.store.calls.clear()

    waiting.happens = dict.fromkeys(range(1, 10), count)
    restore(cluster, waiting.turn())
    assert [[call for call, _ in each] for each in calls[1:]] == [["list"]] * 8


BIG = 100_000


def write_state(cluster: Cluster, content: bytes) -> None:
    (cluster.folder / "pod-1" / "state.bin").write_bytes(content * BIG)


def blobs_read_after_the_take(cluster: Cluster) -> int:
    taken = next(place for place, (call, key) in enumerate(cluster.store.calls) if call == "create" and "/log/" in key)
    return sum(call == "get" and key.startswith("blobs/") for call, key in cluster.store.calls[taken:])


@pytest.mark.parametrize(("later", "fetched"), [(b"a", 0), (b"b", 1)], ids=["the same", "another"])
def test_what_it_has_fetched_while_it_waited_is_not_fetched_again(
    cluster: Cluster, writer: AttemptWriter, waiting: Waiting, later: bytes, fetched: int
) -> None:
    write_state(cluster, b"a")
    writer.look()

    def end() -> None:
        write_state(cluster, later)
        cluster.append(1, line(1))
        writer.finish(never)

    waiting.happens[5] = end
    cluster.store.calls.clear()
    assert restore(cluster, waiting.turn()).items == 2
    assert any(call == "get" and key.startswith("blobs/") for call, key in cluster.store.calls), "fetched at all"
    assert blobs_read_after_the_take(cluster) == fetched
    assert (cluster.folder / "pod-2" / "state.bin").read_bytes() == later * BIG


def test_a_folder_that_was_fetched_does_not_stand_in_the_way_of_a_file(
    cluster: Cluster, writer: AttemptWriter, waiting: Waiting
) -> None:
    state = cluster.folder / "pod-1" / "state"
    (state / "deep").mkdir(parents=True)
    (state / "deep" / "weights").write_bytes(b"a")
    writer.look()

    def end() -> None:
        shutil.rmtree(state)
        state.write_bytes(b"b")
        writer.finish(never)

    waiting.happens[5] = end
    restore(cluster, waiting.turn())
    assert (cluster.folder / "pod-2" / "state").read_bytes() == b"b"


def test_it_does_not_tell_how_much_there_is_before_it_has_taken_the_shard(
    cluster: Cluster, writer: AttemptWriter, waiting: Waiting
) -> None:
    """By that the operator knows who has the shard."""
    told: list[Report] = []
    kinds: list[str] = []

    def tell(report: Report) -> None:
        told.append(report)
        kinds.append(cluster.kinds()[-1])

    # A clock by which everything takes long enough to be told.
    seconds = itertools.count(step=100)
    progress = RestoreProgress(report_of(cluster.settings(2)), tell=tell, monotonic=lambda: float(next(seconds)))
    write_state(cluster, b"a")
    writer.look()
    restored_attempt(
        cluster.store,
        cluster.settings(2),
        nonce=cluster.nonce,
        clock=lambda: 1.0,
        progress=progress,
        turn=waiting.turn(),
    )
    assert told[-1].restore_bytes > 0
    assert set(kinds) == {"take"}


@pytest.mark.parametrize("harm", ["a blob", "the newest entry"])
def test_damage_is_judged_when_the_shard_is_taken(
    cluster: Cluster, writer: AttemptWriter, waiting: Waiting, harm: str
) -> None:
    before = cluster.kinds()
    write_state(cluster, b"a")
    cluster.append(1, line(1))
    writer.look()
    newest = layout.entry_key(cluster.settings(1).folder, len(before))
    blob = next(key for key in cluster.objects if key.startswith("blobs/"))
    key = blob if harm == "a blob" else newest
    cluster.objects[key] = cluster.objects[key][:-2]
    restored = restore(cluster, waiting.turn())
    assert (restored.items, restored.problem) == (1, "CheckpointFellBack")


@pytest.fixture
def operator() -> Iterator[HttpOperator]:
    operator = HttpOperator()
    yield operator
    operator.close()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path, f"file://{tmp_path}/store/ns/sweep/run", items=ITEMS, shards=1, environment={})
    yield run
    run.close()


@pytest.mark.parametrize("by", ["operator", "complete"])
def test_the_whole_of_it_in_processes(run: Run, operator: HttpOperator, by: str) -> None:
    """However it comes by its turn, what is merged is what an undisturbed run gives."""
    first = run.pod_environment(0, 0)
    run.role("restore", expect=0, environment=first)
    mirror = run.start_mirror(first)
    log = LogReader(run.store, layout.shard_folder("run", 0))
    heir = run.pod_environment(0, 1) | {"SWEEP_TAKE_AFTER": "600", "SWEEP_REPORT_URL": operator.url}
    with ThreadPoolExecutor() as pool:
        code = Exit.COMPLETE if by == "complete" else Exit.OK
        restoring = pool.submit(run.role, "restore", expect=code, environment=heir)
        _wait(lambda: bool(operator.told))
        head = log.head()
        assert head is not None
        assert head.entry.writer.attempt == 0, "it must wait"
        if by == "operator":
            mirror.send_signal(signal.SIGKILL)
            operator.answer = Answer(may_take=True)
        else:
            assert run.start_writer(first, pause_s=0.0).wait(60) == 0
            mirror.send_signal(signal.SIGTERM)
        mirror.communicate(timeout=60)
        restoring.result(60)
    assert {report.stage for report in operator.told} == {Stage.RESTORING}
    if by == "operator":
        mirror = run.start_mirror(heir)
        assert run.start_writer(heir, pause_s=0.0).wait(60) == 0
        mirror.send_signal(signal.SIGTERM)
        mirror.communicate(timeout=60)
    assert run.merged() == expected(ITEMS)


def _wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
