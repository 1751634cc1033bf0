"""A shard with its real restore and mirror under any schedule: zombies, lost replies, deaths between two calls, damage.

Held against a model that knows which objects are damaged: a restore brings back exactly the newest generation that is
whole, says so wherever that is not the newest there was, and nothing that was acknowledged goes in any other way.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resumable_sweep.contract.report import Experiment, Stage
from sweep_sidecar import layout
from sweep_sidecar.log.fencing import Overtaken, ShardComplete, Superseded
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.restore import Restored
from sweep_sidecar.store import Unreachable
from unit.sidecar.memory_store import MemoryStore
from unit.sidecar.pods import FOLDER, HEADER, Cluster, last_line, line

LOG = layout.log_prefix(FOLDER)
FAULTS = st.just([]) | st.lists(
    st.sampled_from([None, None, None, None, "lost", "away", "unanswered", "killed", "garbled", "raced"]), max_size=8
)
Fault = str | Callable[[], None] | None


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Pod:
    attempt: int
    writer: AttemptWriter | None = None
    keys: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """A generation as the model saw it arrive: its files' digests, its records, and the objects that it rests on."""

    seq: int
    files: dict[str, str]
    keys: frozenset[int]
    objects: frozenset[str]


class ShardMachine(RuleBasedStateMachine):
    contents = 1000
    """How many contents the large file has, before the first one comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="shard-model-"))
        self.cluster = Cluster(self.folder)
        self.objects = self.cluster.objects
        self.pods: list[Pod] = []
        self.attempts = 0
        self.next_key = 0
        self.bigs = 0
        self.seen: set[str] = set()
        self.written: list[Written] = []
        self.damaged: set[str] = set()
        self.acknowledged: frozenset[int] = frozenset()
        self.completed = ""

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(faults=FAULTS, tries=st.integers(1, 2))
    def launch(self, faults: list[str | None], tries: int) -> None:
        """A relaunch, whatever has become of the attempts before; what killed it may have it start again in place."""
        self.attempts += 1
        pod = Pod(self.attempts)
        for number in range(tries):
            self._inject(self.cluster.store, faults if number == 0 else [])
            if self._restored(pod):
                return

    @precondition(lambda self: self.pods)
    @rule(data=st.data(), faults=FAULTS, big=st.booleans())
    def record_and_look(self, data: st.DataObject, faults: list[str | None], big: bool) -> None:
        """Any pod that still runs records an item and is looked at: the shard's holder, or a zombie."""
        self._record(self._some_pod(data), faults, big=big)

    @precondition(lambda self: self.pods)
    @rule(big=st.booleans())
    def go_well_for_a_while(self, big: bool) -> None:
        pod = self.pods[-1]
        for _ in range(3):
            if pod in self.pods:
                self._record(pod, [], big=big)

    def _record(self, pod: Pod, faults: list[str | None], *, big: bool) -> None:
        self.next_key += 1
        pod.keys.append(self.next_key)
        new = not self._log(pod).exists()
        self.cluster.append(pod.attempt, (HEADER if new else b"") + line(self.next_key))
        if big:
            self.bigs += 1
            (self._snapshot(pod) / "big").write_bytes(b"%d" % (self.bigs % self.contents) * 70_000)
        self._step(pod, faults, lambda writer: writer.look())

    @precondition(lambda self: self.pods)
    @rule(data=st.data(), faults=FAULTS, done=st.booleans())
    def end(self, data: st.DataObject, faults: list[str | None], done: bool) -> None:
        """The experiment ends; where it has done all there is, the shard is complete."""
        pod = self._some_pod(data)
        if done and pod.keys:
            self.cluster.append(pod.attempt, last_line(*pod.keys))
        self._step(pod, faults, lambda writer: writer.finish(lambda: Experiment.UNKNOWN))
        if pod in self.pods:
            self.pods.remove(pod)  # whether or not its end was written: its grace period is over

    @precondition(lambda self: self.pods)
    @rule(data=st.data())
    def start_the_mirror_again(self, data: st.DataObject) -> None:
        pod = self._some_pod(data)
        self._mirror(pod)

    @precondition(lambda self: len(self.written) > 1)
    @rule(data=st.data(), how=st.sampled_from(["cut", "changed", "gone"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        """An object of the run goes bad, or an entry is gone.

        That the newest entry is gone is what nobody could see; a blob that is gone comes back with the next who has it.
        """
        highest = min((key for key in self.objects if key.startswith(LOG)), default="")
        newest = [key for each in self.written[-2:] for key in sorted(each.objects)]
        keys = [*(key for key in sorted(self.objects) if key.startswith(("blobs/", LOG))), *newest * 3]
        keys = [
            key
            for key in keys
            if key in self.objects.keys() - self.damaged and (how != "gone" or (key.startswith(LOG) and key != highest))
        ]
        if not keys:
            return
        key = data.draw(st.sampled_from(keys), label="object")
        whole = self.objects[key]
        if how == "gone":
            del self.objects[key]
        else:
            self.objects[key] = whole[: len(whole) // 2] if how == "cut" else bytes([whole[0] ^ 1]) + whole[1:]
        self.damaged.add(key)

    @invariant()
    def every_record_stands_once(self) -> None:
        for pod in self.pods:
            if self._log(pod).exists():
                entries = [json.loads(text) for text in self._log(pod).read_bytes().splitlines()]
                keys = [entry["key"] for entry in entries if entry["kind"] == "done"]
                assert keys == pod.keys
                assert len(set(keys)) == len(keys)
            assert pod.writer is not None
            assert pod.writer.report.items_done <= len(pod.keys)

    def _restored(self, pod: Pod) -> bool:
        """Restore a pod and start its mirror; return whether that is all there is to do."""
        try:
            restored = self.cluster.restore(pod.attempt)
        except (Unreachable, Killed):
            self._observe()
            return False
        except Superseded:
            return True
        except Overtaken:
            assert self.damaged  # only then can a lower attempt have come in between
            return True
        except ShardComplete:
            assert self.completed
            return True
        self._observe()
        self._check(pod, restored)
        self._mirror(pod)
        return True

    def _check(self, pod: Pod, restored: Restored) -> None:
        """Hold what was restored against the newest generation that is whole."""
        whole = [each for each in self.written if not each.objects & self.damaged]
        expected = max(whole, key=lambda each: each.seq, default=None)
        assert restored.generation == (expected.seq if expected else None), (self.written, self.damaged)
        found = {
            path.relative_to(self._snapshot(pod)).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self._snapshot(pod).rglob("*")
            if path.is_file() and ".sweep" not in path.parts
        }
        assert found == (expected.files if expected else {})
        keys = expected.keys if expected else frozenset[int]()
        assert restored.items == len(keys)
        pod.keys = sorted(keys)
        if self.acknowledged - keys:
            assert restored.problem == ("CheckpointFellBack" if expected else "CheckpointLost")
            assert self.damaged.intersection(restored.damaged)
        if not self.damaged:
            assert restored.problem == ""
        self.acknowledged = keys
        self.completed = ""

    def _mirror(self, pod: Pod) -> None:
        pod.writer = self.cluster.mirror(pod.attempt)
        if pod in self.pods:
            self.pods.remove(pod)
        if pod.writer.report.stage is Stage.MIRRORING:
            self.pods.append(pod)
        elif pod.writer.report.problem == "CheckpointCorrupt":
            assert self.damaged

    def _step(self, pod: Pod, faults: list[str | None], step: Callable[[AttemptWriter], None]) -> None:
        writer = pod.writer
        assert writer is not None
        assert isinstance(writer._store, MemoryStore)
        self._inject(writer._store, faults)
        try:
            step(writer)
        except Unreachable:
            return
        except (Killed, Overtaken):
            self.pods.remove(pod)  # the node has died, or the kubelet would start the mirror again
            return
        finally:
            self._inject(writer._store, [])
            self._observe()
        stage = writer.report.stage
        if stage is Stage.STOPPED:
            self.pods.remove(pod)
        elif writer.report.problem == "":
            # The mirror has come to its end without a word: all that is recorded is durable.
            assert writer.report.items_done == len(pod.keys)
            self.acknowledged |= frozenset(pod.keys)
            if stage is Stage.COMPLETE:
                self.completed = min(key for key in self.objects if key.startswith(LOG))

    def _observe(self) -> None:
        """Note what has arrived in the store since the last time."""
        for key in sorted(self.objects, reverse=True):
            if not key.startswith(LOG) or key in self.seen:
                continue
            self.seen.add(key)
            entry = json.loads(self.objects[key])
            if entry["kind"] == "complete":
                self.completed = key
            if entry["kind"] != "gen":
                continue
            files = entry["body"]["files"]
            objects = {key}
            for segment in (segment for file in files.values() for segment in file["segments"]):
                if "seq" in segment:
                    objects.add(layout.entry_key(FOLDER, segment["seq"]))
                elif "blob" in segment:
                    objects.add(segment["blob"])
            log = self.folder / f"pod-{entry['attempt']}" / "results.jsonl"
            stored = log.read_bytes()[: files["results.jsonl"]["size"]]
            entries: list[dict[str, Any]] = [json.loads(text) for text in stored.splitlines()]
            keys = frozenset(entry["key"] for entry in entries if entry["kind"] == "done")
            digests = {path: str(file["sha256"]) for path, file in files.items()}
            self.written.append(Written(entry["seq"], digests, keys, frozenset(objects)))

    def _inject(self, store: MemoryStore, faults: list[str | None]) -> None:
        coming = list(faults)
        swap: list[tuple[str, bytes]] = []

        def fault(call: str, key: str) -> Fault:
            while swap:
                garbled, whole = swap.pop()
                self.objects[garbled] = whole
            now = coming.pop(0) if coming else None
            if now == "away":
                coming[:] = ["away"]  # nothing comes through for the rest of this
                return "lost"
            if now == "killed":
                raise Killed
            if now == "garbled":
                if call == "get" and key in self.objects and key.startswith(("blobs/", LOG)):
                    swap.append((key, self.objects[key]))
                    self.objects[key] = b"garbled"
                return None
            return (
                self._race
                if now == "raced" and call == "create" and key.startswith(LOG)
                else (now if now in ("lost", "unanswered") else None)
            )

        store.fault = fault

    def _race(self) -> None:
        """Another attempt comes up between a look at the log and the write that follows it."""
        self.attempts += 1
        mine, self.cluster.store = self.cluster.store, self.cluster.new_store()
        self._observe()
        self._restored(Pod(self.attempts))
        self.cluster.store = mine

    def _some_pod(self, data: st.DataObject) -> Pod:
        attempt = data.draw(st.sampled_from([pod.attempt for pod in self.pods]), label="attempt")
        return next(pod for pod in self.pods if pod.attempt == attempt)

    def _snapshot(self, pod: Pod) -> Path:
        return self.folder / f"pod-{pod.attempt}"

    def _log(self, pod: Pod) -> Path:
        return self._snapshot(pod) / "results.jsonl"


ShardMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestShard = ShardMachine.TestCase
