"""One life of an attempt: a forked process with the real restore and mirror, which takes one step when it is told to.

So whatever is struck, the same schedule makes the same requests in the same order, and a kill is a real one.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import json
import os
import selectors
import signal
import stat
import sys
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resumable_sweep.contract.acknowledgement import acknowledgement_path, parsed_acknowledgement
from resumable_sweep.contract.report import Experiment
from sweep_sidecar import command
from sweep_sidecar.log.fencing import Overtaken
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.settings import AttemptSettings
from sweep_sidecar.store import Unreachable, gcs, open_store, s3

# Imported before the first fork: a life that had to import its client would take seconds.
assert gcs
assert s3

LOG = "results.jsonl"
STATE = "state.bin"
STATE_BYTES = 70_000
"""More than an entry takes inline: every look that finds something new sends a blob too."""
FASTER = 100.0
"""Of every pause of the sidecar and of the stores' clients, this part is left: a minute of patience takes 0.6 s."""
_LONGEST_S = 120
_STEP_S = 60.0


@dataclass
class Life:
    """A process and the two pipes to it."""

    pid: int
    _telling: int
    _hearing: int
    dead: bool = False

    def step(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Have it take a step, and return what it says of it; {} where it dies of it."""
        if self.dead:
            return {}
        try:
            os.write(self._telling, json.dumps([name, arguments]).encode() + b"\n")
        except BrokenPipeError:
            return self._bury()
        said = b""
        with selectors.DefaultSelector() as readable:
            readable.register(self._hearing, selectors.EVENT_READ)
            while not said.endswith(b"\n"):
                if not readable.select(_STEP_S):
                    self.kill()
                    raise TimeoutError(f"{name} has not ended within {_STEP_S:.0f} s")
                piece = os.read(self._hearing, 1 << 16)
                if not piece:
                    return self._bury()
                said += piece
        answer: dict[str, Any] = json.loads(said)
        return answer

    def kill(self) -> None:
        """End it as the death of its node would."""
        if not self.dead:
            os.kill(self.pid, signal.SIGKILL)
            self._bury()

    def _bury(self) -> dict[str, Any]:
        os.waitpid(self.pid, 0)
        os.close(self._telling)
        os.close(self._hearing)
        self.dead = True
        return {}


def begun(environment: Mapping[str, str], *, deadline_s: float) -> Life:
    """Start a life whose calls to the store end after `deadline_s`."""
    heard, telling = os.pipe()
    hearing, told = os.pipe()
    pid = os.fork()
    if pid:
        os.close(heard)
        os.close(told)
        return Life(pid, telling, hearing)
    try:
        signal.alarm(_LONGEST_S)
        os.close(telling)
        os.close(hearing)
        _live(dict(environment), deadline_s, heard, told)
    finally:
        os._exit(70)


def _live(environment: dict[str, str], deadline_s: float, heard: int, told: int) -> None:
    sys.settrace(None)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    _leave_what_was_inherited()
    for name in [name for name in os.environ if name.startswith("SWEEP_")]:
        del os.environ[name]
    os.environ.update(environment)
    _hurry()
    command.open_store = functools.partial(open_store, deadline_s=deadline_s)
    steps = _Steps(deadline_s)
    with os.fdopen(heard, "rb") as orders:
        for order in orders:
            name, arguments = json.loads(order)
            try:
                said = getattr(steps, name)(**arguments)
            except Exception:
                said = {"defect": traceback.format_exc()}
            os.write(told, json.dumps(said).encode() + b"\n")


class _Steps:
    """What a life can be told to do; each answer is JSON."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._writer: AttemptWriter | None = None

    @functools.cached_property
    def _settings(self) -> AttemptSettings:
        return AttemptSettings.from_environment(os.environ)

    def resolve(self, items: str) -> dict[str, Any]:
        return _outcome(lambda: command._resolve(os.environ, Path(items)))

    def restore(self) -> dict[str, Any]:
        return _outcome(lambda: command._restore(os.environ)) | {"keys": self._recorded()}

    def merge(self) -> dict[str, Any]:
        return _outcome(lambda: command._merge(os.environ, argparse.Namespace(partial=False)))

    def begin(self) -> dict[str, Any]:
        """Start the mirror, or start it again."""
        store = open_store(self._settings.run.store_url, deadline_s=self._deadline_s)
        self._writer = AttemptWriter(
            store,
            self._settings,
            nonce=lambda: uuid.uuid4().hex,
            clock=time.time,
            tell=lambda report: None,
        )
        return self._mirrored(self._writer.begin)

    def record(self, count: int) -> dict[str, Any]:
        """Be the experiment: record so many items more, durably on this disk."""
        log = self._settings.snapshot / LOG
        done = set(self._recorded())
        keys = [json.loads(line)["key"] for line in self._settings.items_file.read_text().splitlines()]
        new = [key for key in keys if key not in done][:count]
        lines = [] if log.exists() else [{"kind": "header", "schema_version": 1, "run_id": "run"}]
        lines += [{"kind": "done", "key": key, "result": hashlib.sha256(key.encode()).hexdigest()} for key in new]
        with log.open("ab") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
        state = hashlib.sha256(f"{len(done)} {self._settings.attempt}".encode()).digest()
        staged = self._settings.snapshot / f"{STATE}.tmp"
        staged.write_bytes((state * (STATE_BYTES // len(state) + 1))[:STATE_BYTES])
        staged.replace(self._settings.snapshot / STATE)
        return {"recorded": new}

    def look(self) -> dict[str, Any]:
        assert self._writer is not None
        return self._mirrored(self._writer.look)

    def finish(self) -> dict[str, Any]:
        """Be at the experiment's end."""
        writer = self._writer
        assert writer is not None
        return self._mirrored(lambda: writer.finish(lambda: Experiment.UNKNOWN))

    def check(self, said: list[dict[str, Any]], damage: bool) -> dict[str, Any]:
        """Hold the log against what was said of it."""
        from faults.verdict import wrong_in_the_log

        store = open_store(self._settings.run.store_url, deadline_s=self._deadline_s)
        return {"wrong": wrong_in_the_log(store, self._settings.folder, said, may_fall_back=damage)}

    def top(self) -> dict[str, Any]:
        """Say which entry is the newest."""
        store = open_store(self._settings.run.store_url, deadline_s=self._deadline_s)
        head = LogReader(store, self._settings.folder).head()
        return {"seq": -1 if head is None else head.entry.seq}

    def get(self, url: str) -> dict[str, Any]:
        store = open_store(self._settings.run.store_url, deadline_s=self._deadline_s)
        return {"content": store.get(url.removeprefix(store.url + "/")).decode()}

    def _recorded(self) -> list[str]:
        log = self._settings.snapshot / LOG
        lines = log.read_bytes().splitlines() if log.exists() else []
        return [entry["key"] for entry in map(json.loads, lines) if entry["kind"] == "done"]

    def _mirrored(self, step: Callable[[], None]) -> dict[str, Any]:
        writer = self._writer
        assert writer is not None
        unreachable = ""
        try:
            step()
        except Unreachable as error:
            writer.cannot_write(error)
            unreachable = str(error)
        except Overtaken as error:
            return {"overtaken": str(error)}
        said = parsed_acknowledgement(acknowledgement_path(self._settings.snapshot).read_bytes())
        acknowledged = {path: [durable.size_bytes, durable.sha256] for path, durable in said.files.items()}
        log = self._settings.snapshot / LOG
        durable = []
        if LOG in acknowledged:
            whole = log.read_bytes()[: acknowledged[LOG][0]]
            if hashlib.sha256(whole).hexdigest() != acknowledged[LOG][1]:
                raise AssertionError("what is acknowledged never stood on this disk")
            durable = [entry["key"] for entry in map(json.loads, whole.splitlines()) if entry["kind"] == "done"]
        return {
            "unreachable": unreachable,
            "stage": writer.report.stage.value,
            "problem": writer.report.problem,
            "message": writer.report.message,
            "durable": durable,
            "acknowledged": {"attempt": said.attempt, "generation": said.generation, "files": acknowledged},
        }


def _outcome(role: Callable[[], tuple[Any, Any]]) -> dict[str, Any]:
    try:
        code, outcome = role()
    except Exception as error:
        code, outcome = command._failure(error)
        if outcome.reason == "Failed":
            return {"defect": traceback.format_exc()}
    return {"code": int(code), "reason": outcome.reason, "message": outcome.message, "details": outcome.details}


def _hurry() -> None:
    sleep, pause = time.sleep, asyncio.sleep

    async def shorter(seconds: float, result: Any = None) -> Any:
        return await pause(seconds / FASTER, result)

    time.sleep = lambda seconds: sleep(seconds / FASTER)
    asyncio.sleep = shorter  # type: ignore[assignment]
    command._PATIENCE_S /= FASTER  # type: ignore[misc]


def _leave_what_was_inherited() -> None:
    """Close the connections of those who live at the same time, and say nothing on their screen."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.close(int(name))
        except OSError:
            pass  # the folder itself
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
