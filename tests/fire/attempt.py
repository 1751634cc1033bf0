"""What runs inside an attempt's pod: the sidecar's own restore and mirror, one step at a time, and an experiment."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

from fire.kube import Json
from resumable_sweep.contract import environment as names
from resumable_sweep.contract.canonical import sha256_of_keys
from resumable_sweep.contract.outcome import Exit, Outcome
from resumable_sweep.contract.report import Answer, Experiment, Report, Stage
from sweep_sidecar import command
from sweep_sidecar.log.fencing import ShardComplete, Superseded
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.push import ReportNumbers
from sweep_sidecar.restore import completed_report, report_of, restored_attempt, restored_report
from sweep_sidecar.restore_progress import RestoreProgress
from sweep_sidecar.settings import AttemptSettings
from sweep_sidecar.store import Unreachable, open_store
from sweep_sidecar.succession import Turn

UNNAMED_ITEMS = 3
"""So many items a shard has where the sweep does not name them."""


class Interrupted(Exception):
    """The container was told to end while it waited."""


def environment_of(container: Json, pod: Json, *, store: Path) -> dict[str, str]:
    """Return what a container finds in its environment; whatever store it names is a folder below `store`."""
    known = {"metadata.name": pod["metadata"]["name"], "metadata.uid": pod["metadata"]["uid"]}
    found: dict[str, str] = {}
    for variable in container.get("env") or ():
        path = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath", "")
        found[variable["name"]] = known[path] if path else variable.get("value", "")
    for name in (names.STORE_URL, names.START_FROM):
        if found.get(name):
            url = urlsplit(found[name])
            found[name] = f"file://{store}/{url.netloc}{url.path}"
    return found


class Attempt:
    """The containers of one attempt's pod. All methods but those of `turn` are for one thread at a time.

    Parameters
    ----------
    folder:
        The pod's own disk.
    store:
        The folder that stands for all stores.
    tell:
        Called with each report, in whatever thread comes to it.
    is_ending:
        Whether the kubelet has asked the containers to end.
    hush:
        Returns when no report is on its way any more; called before the last words of the restore.
    numbers:
        Of the pod's reports.
    """

    def __init__(
        self,
        pod: Json,
        *,
        folder: Path,
        store: Path,
        tell: Callable[[Report], None],
        is_ending: Callable[[], bool],
        hush: Callable[[], None],
        numbers: ReportNumbers,
    ) -> None:
        restore = pod["spec"]["initContainers"][0]
        environment = environment_of(restore, pod, store=store)
        self.report_url = environment.get(names.REPORT_URL, "")
        # The token is asked for as the kubelet asks for it, and nobody announces anything.
        own = {names.SNAPSHOT_DIR: str(folder), names.TOKEN_FILE: "", names.METADATA_URL: ""}
        self.settings = AttemptSettings.from_environment({**environment, **own})
        folder.mkdir(parents=True, exist_ok=True)
        self._tell = tell
        self._is_ending = is_ending
        self._hush = hush
        self._numbers = numbers
        self._turn = Turn(self.settings.take_after_s, wait_on=self._wait)
        self._writer: AttemptWriter | None = None

    def hear(self, answer: Answer) -> None:
        """Take in what the operator has answered to a report."""
        self._turn.hear(answer)

    def restore(self) -> tuple[int, Outcome]:
        """Be sweep-restore, and return its exit code and its last words."""
        progress = RestoreProgress(report_of(self.settings), tell=self._tell, monotonic=time.monotonic)
        if self._turn.is_waited_for:
            self._tell(progress.report)
        try:
            restored = restored_attempt(
                open_store(self.settings.run.store_url),
                self.settings,
                nonce=_nonce,
                clock=time.time,
                progress=progress,
                turn=self._turn,
            )
        except Interrupted:
            return 143, Outcome("Ended", "ended while it waited for its turn")
        except Superseded as error:
            return Exit.SUPERSEDED, Outcome("Superseded", str(error), {"head_attempt": error.head.writer.attempt})
        except ShardComplete as error:
            return Exit.COMPLETE, Outcome("Complete", "", self._numbered(completed_report(error.head, progress.report)))
        except Exception as error:
            return command._failure(error)
        finally:
            self._hush()
        reason = restored.problem or ("FreshStart" if restored.generation is None else "Restored")
        return Exit.OK, Outcome(reason, "", self._numbered(restored_report(restored, progress.report)))

    def begin(self) -> None:
        """Start sweep-mirror."""
        store = open_store(self.settings.run.store_url)
        self._writer = AttemptWriter(store, self.settings, nonce=_nonce, clock=time.time, tell=self._tell)
        self._writer.begin()

    def record(self, *, up_to: int | None) -> bool:
        """Be the experiment until so many items are recorded (None: all); return whether they are all."""
        log = self.settings.snapshot / self.settings.checkpoint_file
        keys = self._keys()
        lines = log.read_text().splitlines() if log.exists() else []
        done = {entry["key"] for entry in map(json.loads, lines) if entry["kind"] == "done"}
        new = [key for key in keys if key not in done]
        if up_to is not None:
            new = new[: max(0, up_to - len(done))]
        fresh = [] if lines else [{"kind": "header", "schema_version": 1, "run_id": self.settings.run.run_id}]
        fresh += [{"kind": "done", "key": key, "result": _result_of(key)} for key in new]
        is_all = len(done) + len(new) == len(keys)
        if is_all and new:
            fresh.append({"kind": "complete", "total": len(keys), "keys_sha256": sha256_of_keys(keys)})
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write("".join(json.dumps(line) + "\n" for line in fresh))
        return is_all

    def look(self) -> None:
        """Have the mirror store what is new."""
        self._settled(self._mirror.look)

    def finish(self, ask: Callable[[], Experiment]) -> None:
        """Have the mirror write the attempt's end."""
        self._settled(lambda: self._mirror.finish(ask))

    @property
    def report(self) -> Report:
        """What the mirror says of the attempt."""
        return self._mirror.report

    @property
    def has_ended(self) -> bool:
        """Whether the mirror writes nothing more."""
        return self._mirror.has_ended

    def last_words(self) -> Outcome:
        """Return the mirror's termination message."""
        report = self.report
        reason = "Superseded" if report.problem == "Superseded" else report.stage.value.capitalize()
        return Outcome(reason, report.message, self._numbered(report))

    def sealing(self) -> Report:
        """Return what the mirror says while it asks how the experiment has ended."""
        return replace(self.report, stage=Stage.SEALED)

    def _numbered(self, report: Report) -> dict[str, object]:
        return asdict(report) | {"sequence": self._numbers.next()}

    @property
    def _mirror(self) -> AttemptWriter:
        if self._writer is None:
            raise RuntimeError("the mirror has not begun")
        return self._writer

    def _keys(self) -> list[object]:
        if not self.settings.run.items_sha256:
            return [f"{self.settings.shard}-{number}" for number in range(UNNAMED_ITEMS)]
        return [json.loads(line)["key"] for line in self.settings.items_file.read_text().splitlines()]

    def _wait(self, event: threading.Event, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not event.wait(0.05) and time.monotonic() < until:
            if self._is_ending():
                raise Interrupted
        return event.is_set()

    def _settled(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Unreachable as error:
            # A folder of this machine: nothing keeps it from answering but the harness itself.
            raise RuntimeError(f"the folder that stands for the store does not answer: {error}") from error


def housekeeping(container: Json, pod: Json, *, store: Path, items: str, scratch: Path) -> tuple[int, Outcome]:
    """Be a housekeeping pod's container, and return its exit code and its last words.

    Parameters
    ----------
    items:
        What the file holds that the pod's ConfigMap would bring.
    """
    options = command._parser().parse_args(container["args"])
    environment: Mapping[str, str] = environment_of(container, pod, store=store)
    try:
        if options.role == "resolve":
            scratch.mkdir(parents=True, exist_ok=True)
            (scratch / "items").write_text(items)
            return command._resolve(environment, scratch / "items")
        role = command._merge if options.role == "merge" else command._retain
        return role(environment, options)
    except Exception as error:
        return command._failure(error)


def _result_of(key: object) -> str:
    """Return an item's result: of the item alone, so that whoever computes it comes to the same."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]


def _nonce() -> str:
    return uuid.uuid4().hex
