"""What a pod's day costs its store: requests and bytes, counted on a store in memory while a clock is turned by hand.

Restore, capture, log and pace are the sidecar's own, as in a pod; only the clock, the store and the program that
records items are stand-ins. The program appends the library's lines to the log at the moments when the clock says so.
"""

from __future__ import annotations

import socket
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from resumable_sweep.contract import environment as names
from resumable_sweep.contract.canonical import sha256_of_keys
from resumable_sweep.contract.log_format import COMPLETE, DONE, HEADER, SCHEMA_VERSION, STARTED, line_of
from resumable_sweep.contract.report import Experiment, Stage
from sweep_sidecar import layout
from sweep_sidecar.inspection.runs import one_run
from sweep_sidecar.log.entry import Kind
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.mirror.pace import Pace
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.restore import generation_in, restored_attempt
from sweep_sidecar.retention import Rule, planned_sweep, swept
from sweep_sidecar.settings import AttemptSettings
from sweep_sidecar.store import Creation, Listed
from sweep_sidecar.store.memory import MemoryStore

DAY_S = 86_400
RUN = "run"
_LOG = "results.jsonl"
_BEGAN = 1_795_000_000.0
"""Unix seconds at which the simulated day begins."""
_PAGE = 1000
"""Names on one page of a listing: each page is a request."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A day, or a part of one: `items` are recorded evenly over `span_s`, by one shard of a sweep of `shards`.

    After it so many looks find nothing new.
    """

    items: int = 100_000
    span_s: float = DAY_S
    interval_s: float = 10.0
    shards: int = 1000
    quiet_looks: int = 100
    result_bytes: int = 40
    """Length of an item's result, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Requests:
    """How often a store was asked, and for how many bytes."""

    creates: int = 0
    lists: int = 0
    gets: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def since(self, before: Requests) -> Requests:
        """Return what was added."""
        return Requests(
            creates=self.creates - before.creates,
            lists=self.lists - before.lists,
            gets=self.gets - before.gets,
            sent_bytes=self.sent_bytes - before.sent_bytes,
            received_bytes=self.received_bytes - before.received_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class Day:
    """What was counted; `recorded_bytes` is the length of the log of results."""

    plan: Plan
    recorded_bytes: int
    began: Requests
    """Of the first attempt's restore, which finds nothing."""
    mirrored: Requests
    generations: int
    looks: int
    quiet: Requests
    resumed: Requests
    """Of one restore at the end, in another pod."""
    ended: Requests
    """Of the successor's first look and its last entry."""
    last_entry_bytes: int
    last_pieces: int
    left_bytes: int
    """What lies in the store at the end."""
    thinned: Requests
    """Of retention, which looks at everything and keeps one generation."""
    kept_bytes: int
    """What is left after it."""


class CountingStore:
    """A store that counts what it is asked, and hands it on to one in memory."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner
        self.requests = Requests()

    @property
    def url(self) -> str:
        return self._inner.url

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        self._count(creates=1, sent_bytes=len(data))
        return self._inner.create(key, data, deadline_s=deadline_s)

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        data = self._inner.get(key, start=start, end=end, deadline_s=deadline_s)
        self._count(gets=1, received_bytes=len(data))
        return data

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        found = self._inner.list(prefix, limit=limit, deadline_s=deadline_s)
        self._count(lists=max(1, -(-len(found) // _PAGE)))
        return found

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        self._inner.delete(key, deadline_s=deadline_s)

    def _count(self, **more: int) -> None:
        self.requests = replace(self.requests, **{name: getattr(self.requests, name) + n for name, n in more.items()})


def simulated_day(plan: Plan) -> Day:
    """Live through `plan`: a first attempt mirrors, a second one restores what it left, and completes the shard."""
    store = CountingStore(MemoryStore(f"bench/{uuid.uuid4().hex}/{RUN}"))
    with tempfile.TemporaryDirectory(prefix="rsw-bench-") as directory:
        pod = _Pod(store, Path(directory), plan)
        pod.start(0)
        began = store.requests
        lines = _lines(plan)
        due = next(lines, None)
        while pod.now < plan.span_s:
            pending = []
            while due is not None and due[0] <= pod.now:
                pending.append(due[1])
                due = next(lines, None)
            pod.append(b"".join(pending))
            pod.look()
        # What came after the last look of the span.
        pod.append(b"".join(line for _, line in ([due, *lines] if due is not None else [])))
        pod.look()
        mirrored, looks = store.requests.since(began), pod.looks
        before = store.requests
        for _ in range(plan.quiet_looks):
            pod.look()
        quiet = store.requests.since(before)
        entry_bytes, pieces, generations = pod.newest()
        before = store.requests
        pod.restore(1)
        resumed = store.requests.since(before)
        before = store.requests
        pod.mirror()
        pod.append(_last_line(plan))
        stage = pod.finish()
        if stage is not Stage.COMPLETE:
            raise RuntimeError(f"the simulated shard ended {stage.value}, not complete")
        ended = store.requests.since(before)
        recorded = pod.log.stat().st_size
    left, before = _size_of(store), store.requests
    run = one_run(store.url, open=lambda url: store)
    rule = Rule(keep=1, age_s=0.0)
    sweep = planned_sweep(run, rule, now=_BEGAN + 2 * DAY_S)
    if sweep.left_alone:
        raise RuntimeError(f"retention leaves the simulated run alone: {sweep.left_alone}")
    swept(run, sweep, rule, now=_BEGAN + 2 * DAY_S)
    thinned = store.requests.since(before)
    return Day(
        plan=plan,
        recorded_bytes=recorded,
        began=began,
        mirrored=mirrored,
        generations=generations,
        looks=looks,
        quiet=quiet,
        resumed=resumed,
        ended=ended,
        last_entry_bytes=entry_bytes,
        last_pieces=pieces,
        left_bytes=left,
        thinned=thinned,
        kept_bytes=_size_of(store),
    )


def settings_of(
    snapshot: Path, *, url: str, attempt: int, shards: int = 1, interval_s: float = 10.0, named: str = _LOG
) -> AttemptSettings:
    """Return the settings of an attempt of shard 0."""
    snapshot.mkdir(parents=True, exist_ok=True)
    return AttemptSettings.from_environment(
        {
            names.STORE_URL: url,
            names.RUN_ID: RUN,
            names.SHARDS: str(shards),
            names.SHARD: "0",
            names.ATTEMPT: str(attempt),
            names.POD_UID: f"pod-{attempt}",
            names.SNAPSHOT_DIR: str(snapshot),
            names.CHECKPOINT_FILE: named,
            names.INTERVAL: str(interval_s),
        }
    )


class _Pod:
    """The sidecar of one attempt after the other, with a clock that goes on only while it waits."""

    def __init__(self, store: CountingStore, directory: Path, plan: Plan) -> None:
        self.now = 0.0
        self.looks = 0
        self._store = store
        self._directory = directory
        self._plan = plan

    @property
    def log(self) -> Path:
        return self._settings.snapshot / _LOG

    def start(self, attempt: int) -> None:
        self.restore(attempt)
        self.mirror()

    def restore(self, attempt: int) -> None:
        plan = self._plan
        self._settings = settings_of(
            self._directory / str(attempt),
            url=self._store.url,
            attempt=attempt,
            # A log that says that its shard is complete ends a run of one shard; the pace alone knows of the others.
            shards=1,
            interval_s=plan.interval_s,
        )
        restored_attempt(self._store, self._settings, nonce=lambda: uuid.uuid4().hex, clock=self._clock)

    def mirror(self) -> None:
        self._writer = AttemptWriter(
            self._store, self._settings, nonce=lambda: uuid.uuid4().hex, clock=self._clock, tell=lambda report: None
        )
        self._writer.begin()
        self._pace = Pace(interval_s=self._plan.interval_s, now=self.now, shards=self._plan.shards)

    def append(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    def look(self) -> None:
        """Look once, and wait until the next look is due."""
        self._pace.begin(self.now)
        writes = self._writer.writes
        self._writer.look()
        self._pace.wrote(self._writer.writes - writes)
        self.looks += 1
        if self._writer.report.problem:
            raise RuntimeError(f"the simulated mirror reports {self._writer.report.message}")
        while pause_s := self._pace.pause_s(self.now, is_asked=False):
            self.now += pause_s

    def finish(self) -> Stage:
        self._writer.finish(lambda: Experiment.UNKNOWN)
        return self._writer.report.stage

    def newest(self) -> tuple[int, int, int]:
        """Return the newest generation's bytes and pieces, and how many generations there are; nothing is counted."""
        counted = self._store.requests
        log = LogReader(self._store, layout.shard_folder(RUN, 0))
        head = log.head()
        if head is None or head.entry.kind is not Kind.GEN:
            raise RuntimeError("the simulated shard's log does not end in a generation")
        entry = head.entry
        size = len(self._store.get(layout.entry_key(log.folder, entry.seq)))
        self._store.requests = counted
        # Below them stand a take and a base.
        return size, len(generation_in(log, head).files[_LOG].segments), entry.seq - 1

    def _clock(self) -> float:
        return _BEGAN + self.now


def _lines(plan: Plan) -> Iterator[tuple[float, bytes]]:
    """Yield the log's lines with the moments at which they are written, seconds since the beginning."""
    host = socket.gethostname()[:8].ljust(8, "x")
    header = {"schema_version": SCHEMA_VERSION, "run_id": RUN, "shard": 0, "shards": 1, "created": _BEGAN}
    yield 0.0, line_of({"kind": HEADER, **header})
    each_s = plan.span_s / plan.items
    result = "x" * (plan.result_bytes - 2)
    for item in range(plan.items):
        started, ended = item * each_s, (item + 1) * each_s
        at = round(_BEGAN + started, 6)
        yield started, line_of({"kind": STARTED, "at": at, "key": item})
        done = {"key": item, "result": result, "attempt": 0, "host": host, "started": at}
        yield ended, line_of({"kind": DONE, **done, "ended": round(_BEGAN + ended, 6)})


def _last_line(plan: Plan) -> bytes:
    digest = sha256_of_keys(range(plan.items))
    return line_of({"kind": COMPLETE, "total": plan.items, "keys_sha256": digest, "skipped": 0})


def _size_of(store: CountingStore) -> int:
    counted = store.requests
    size = sum(found.size for found in store.list(""))
    store.requests = counted
    return size
