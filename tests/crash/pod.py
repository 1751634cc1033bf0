"""One shard's pods after each other: the real restore and mirror and an experiment, each a forked process."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash.every_file import EveryFile, changes
from crash.interposer import Call, Perform, die
from crash.life import Life, Tell, begun, ended
from crash.reins import Bridle, Gate, Reins
from crash.style import ITEMS, Style
from resumable_sweep._durability import Acknowledgements
from resumable_sweep.contract.acknowledgement import acknowledgement_path, parsed_acknowledgement
from resumable_sweep.contract.items import items_of_list, lines_of
from sweep_sidecar import command
from sweep_sidecar.capture import steady
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.store import Listed
from sweep_sidecar.store.local import LocalStore

_MEANWHILE = 0.08
"""Chance that the experiment goes a step further before a call of the mirror."""
_LONGEST_STRIDE = 3
"""Most steps that it goes between two looks."""
_PIECE_BYTES = 32 << 10
"""Files larger than this are stored in pieces, as those of 8 MiB are otherwise: some inline, some in blobs."""
_ASKS = ("get", "list")
_hear, _say = os.read, os.write


@dataclass(frozen=True)
class Strike:
    """What becomes of a process at its call `at`: of those that change files or ask the store, counted from 0.

    `how` is `before` (killed), `half` (killed in the middle of what it writes), or `stall`: it stands still until
    somebody lets it go on, as one that is cut off from everything does.
    """

    at: int
    how: str


@dataclass(frozen=True)
class Made:
    """A call that was made: its name and path, and the size of what it wrote (bytes)."""

    name: str
    path: str
    size: int


class Director:
    """Counts a process's calls, strikes it, and lets the experiment go on in between."""

    def __init__(
        self, strike: Strike | None, stalled: tuple[int, int], reins: Reins | None, rng: random.Random
    ) -> None:
        self.made: list[Made] = []
        self._strike = strike
        self._stalled = stalled
        self._reins = reins
        self._rng = rng
        self._alone = reins.alone if reins else threading.RLock()

    def __call__(self, call: Call, perform: Perform) -> Any:
        with self._alone:
            if self._reins is not None and self._rng.random() < _MEANWHILE:
                self._reins.advance()
            if not changes(call) and call.name not in _ASKS:
                return perform()
            number = len(self.made)
            self.made.append(Made(call.name, call.path, call.size))
            strike = self._strike
            if strike is None or number != strike.at:
                return perform()
            if strike.how == "stall":
                _say(self._stalled[1], b".")
                _hear(self._stalled[0], 1)
                return perform()
            if strike.how == "half" and call.size > 1:
                perform(call.size // 2)
            return die()


class _Seen(LocalStore):
    """The store, with what it is asked as calls of their own: what it changes are files."""

    def __init__(self, root: Path, files: EveryFile) -> None:
        super().__init__(root)
        self._files = files

    def get(self, key: str, **more: Any) -> bytes:
        return bytes(self._files.seen("get", key, lambda: super(_Seen, self).get(key, **more)))

    def list(self, prefix: str, **more: Any) -> list[Listed]:
        return list(self._files.seen("list", prefix, lambda: super(_Seen, self).list(prefix, **more)))


@dataclass
class Stalled:
    """A process that stands still, with the experiment beside it."""

    shard: Shard
    process: tuple[int, int]
    experiment: tuple[int, int] | None
    bridle: Bridle | None
    failed: int
    go_on: int

    def go(self) -> Life:
        """Let it go on, to its end."""
        _say(self.go_on, b".")
        os.close(self.go_on)
        (life,) = ended([self.process])
        self.shard.alive.discard(self.process[0])
        if self.experiment is not None and self.bridle is not None:
            _end_experiment(self.shard, self.experiment)
            self.bridle.close()
            os.close(self.failed)
        return life


@dataclass
class Shard:
    """A shard in a store below `folder`, its pods, and all that was said of it."""

    style: Style
    folder: Path
    seed: str
    items_sha256: str = ""
    said: list[dict[str, Any]] = field(default_factory=list)
    alive: set[int] = field(default_factory=set)
    """Processes that have not been waited for."""
    has_stalled: bool = False
    _lives: int = 0

    @property
    def url(self) -> str:
        """Address of the run's folder."""
        return f"file://{self.folder}/root/store/ns/sweep/run"

    @property
    def store(self) -> LocalStore:
        """The run's folder."""
        return LocalStore(Path(self.url.removeprefix("file://")))

    @property
    def truth(self) -> Path:
        """The truth log of all the shard's experiments."""
        return self.folder / "truth"

    @property
    def durable(self) -> int:
        """How far the shard is for certain: an experiment was told so."""
        noted = self.folder / "durable"
        return max(map(int, noted.read_text().split()), default=0) if noted.exists() else 0

    def note_durable(self, progress: int) -> None:
        """Note, where no node's death reaches, that an experiment was told that so much is durable."""
        with (self.folder / "durable").open("a") as noted:
            noted.write(f"{progress}\n")

    def prepare(self) -> None:
        """Write the run's items, where it has any."""
        (self.folder / "root" / "store").mkdir(parents=True)
        if self.style.counts:
            from sweep_sidecar.housekeeping import resolve

            text = "".join(lines_of(items_of_list(list(ITEMS))))
            self.items_sha256 = resolve(self.store, text).sha256

    def pod(self, attempt: int) -> Pod:
        """Return an attempt's pod, on a node of its own: its directory has the same path everywhere, and is empty.

        While a process of an earlier one stands still, which would see the new files, the path is another.
        """
        snapshot = self.folder / "root" / (f"pod-{attempt}" if self.has_stalled else "pod")
        if snapshot.exists():
            shutil.rmtree(snapshot)
        snapshot.mkdir()
        return Pod(self, attempt, snapshot)

    def end_all(self) -> None:
        """End what something that went wrong has left running."""
        for pid in self.alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def rng(self) -> random.Random:
        """Return the source of chance of the next life."""
        self._lives += 1
        return random.Random(f"{self.seed} {self._lives}")


@dataclass
class Pod:
    """One attempt."""

    shard: Shard
    attempt: int
    snapshot: Path
    _experiment: tuple[int, int] | None = None
    experiment_failed: str = ""
    """What went wrong with the last experiment, once it has ended."""
    _bridle: Bridle | None = None
    _failed: int = -1

    @property
    def environment(self) -> dict[str, str]:
        """What the containers are told."""
        return {
            "SWEEP_NAME": "sweep",
            "SWEEP_NAMESPACE": "ns",
            "SWEEP_STORE_URL": self.shard.url,
            "SWEEP_RUN_ID": "run",
            "SWEEP_SHARDS": "1",
            "SWEEP_SHARD": "0",
            "SWEEP_ATTEMPT": str(self.attempt),
            "SWEEP_POD_UID": f"pod-{self.attempt}",
            "SWEEP_SNAPSHOT_DIR": str(self.snapshot),
            "SWEEP_ITEMS": str(self.snapshot / ".sweep" / "items.jsonl"),
            "SWEEP_ITEMS_SHA256": self.shard.items_sha256,
            "SWEEP_INTERVAL": "0.001",
            "SWEEP_PORT": "0",
            **self.shard.style.environment,
        }

    def restore(self, strike: Strike | None = None) -> Life | Stalled:
        """Run the init container; one that stalls is handed back as it stands there."""

        def run(director: Director, tell: Tell) -> None:
            _install(self.shard.folder / "root", director)
            _tell_outcome(tell, lambda: command._restore(os.environ))

        return self._struck(run, strike, reins=None)

    def begin(self) -> None:
        """Start the experiment; it waits before the first change that it makes."""
        bridle, rng = Bridle.made(), self.shard.rng()

        def run(root: Path, tell: Tell) -> None:
            os.environ.update(self.environment)
            gate = Gate(bridle, self.snapshot, self.shard.truth, rng)
            EveryFile(self.snapshot, gate).install()
            # Whoever waits for the store goes on when the mirror has had its turn, not when time has passed.
            Acknowledgements.__init__.__kwdefaults__["sleep"] = gate.pause
            try:
                self.shard.style.run(self.snapshot, self.shard.note_durable)
            except BaseException as error:
                _say(failing, f"{type(error).__name__}: {error}".encode()[:4000])
            gate.run_out()

        failed, failing = os.pipe()
        self._bridle = bridle
        self._experiment = begun(run, self.snapshot, None)
        self.shard.alive.add(self._experiment[0])
        os.close(failing)
        self._failed = failed

    def go_on(self, steps: int) -> None:
        """Let the experiment change files so many times while there is no mirror."""
        assert self._bridle is not None
        Reins(self._bridle).advance(steps)

    def mirror(self, strike: Strike | None = None) -> Life | Stalled:
        """Run the mirror until the experiment and then it have ended, or until it is struck."""
        assert self._bridle is not None
        reins, strides = Reins(self._bridle), self.shard.rng()

        def run(director: Director, tell: Tell) -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            _install(self.shard.folder / "root", director)
            command.AttemptWriter = _on_reins(reins, strides)  # type: ignore[misc]
            _tell_outcome(tell, lambda: command._mirror(os.environ, {signal.SIGTERM}))

        life = self._struck(run, strike, reins=reins)
        if isinstance(life, Life):
            self.note_acknowledged()
        return life

    def end(self) -> None:
        """End the experiment as its node's death would."""
        assert self._experiment is not None
        assert self._bridle is not None
        _end_experiment(self.shard, self._experiment)
        self._bridle.close()
        self.experiment_failed = _hear(self._failed, 4000).decode()
        os.close(self._failed)
        self._experiment = self._bridle = None

    def note_acknowledged(self) -> None:
        """Keep what the experiment has been told is durable."""
        try:
            said = parsed_acknowledgement(acknowledgement_path(self.snapshot).read_bytes())
        except FileNotFoundError:
            return
        files = {path: [durable.size_bytes, durable.sha256] for path, durable in said.files.items()}
        self.shard.said.append({"attempt": said.attempt, "generation": said.generation, "files": files})

    def files(self) -> dict[str, bytes]:
        """Return what lies in the snapshot directory."""
        found = (path for path in self.snapshot.rglob("*") if path.is_file())
        by_path = {path.relative_to(self.snapshot).as_posix(): path.read_bytes() for path in found}
        return {path: data for path, data in by_path.items() if not path.startswith(".sweep/")}

    def _struck(self, run: Any, strike: Strike | None, *, reins: Reins | None) -> Life | Stalled:
        rng = self.shard.rng()
        waiting, go_on = os.pipe()
        seen, stalls = os.pipe()
        director = Director(strike, (waiting, stalls), reins, rng)

        def living(root: Path, tell: Tell) -> None:
            os.close(go_on)
            os.close(seen)
            os.environ.update(self.environment)
            run(director, tell)
            tell("made", director.made)

        process = begun(living, self.snapshot, None)
        self.shard.alive.add(process[0])
        os.close(waiting)
        os.close(stalls)
        # Nothing comes, and the pipe ends, where it lives on to its end or is killed.
        if strike is not None and strike.how == "stall" and _hear(seen, 1):
            os.close(seen)
            self.shard.has_stalled = True
            experiment, bridle = self._experiment, self._bridle
            self._experiment = self._bridle = None
            return Stalled(self.shard, process, experiment, bridle, self._failed, go_on)
        (life,) = ended([process])
        self.shard.alive.discard(process[0])
        os.close(seen)
        os.close(go_on)
        return life


def _install(root: Path, director: Director) -> None:
    files = EveryFile(root, director)
    files.install()
    steady.BLOB_BYTES = _PIECE_BYTES
    command.open_store = lambda url: _Seen(Path(url.removeprefix("file://")), files)  # type: ignore[assignment]


def _tell_outcome(tell: Tell, role: Any) -> None:
    try:
        code, outcome = role()
    except Exception as error:
        code, outcome = command._failure(error)
        if outcome.reason == "Failed":
            raise
    tell("outcome", (int(code), outcome.reason, outcome.message, outcome.details))


def _on_reins(reins: Reins, rng: random.Random) -> type[AttemptWriter]:
    class Writer(AttemptWriter):
        def look(self, *, last: bool = False) -> None:
            if not last:
                if not reins.ended:
                    reins.advance(rng.randint(1, _LONGEST_STRIDE))
                if reins.ended:
                    os.kill(os.getpid(), signal.SIGTERM)
            super().look(last=last)

    return Writer


def _end_experiment(shard: Shard, process: tuple[int, int]) -> None:
    os.kill(process[0], signal.SIGKILL)
    ended([process])
    shard.alive.discard(process[0])
