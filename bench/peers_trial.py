"""One node is struck under a sweep and two Jobs that do the same work on it, side by side."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.peers_account import Outcome, outcome_of
from bench.peers_ways import JOB_WITH_BUCKET, NAMESPACE, SIDES, SWEEP, WAYS, Program
from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.items import items_of_matrix, shard_of
from resumable_sweep.contract.log_format import entries_of, results_of
from rig import RigError
from rig.progress import say
from trial.client import Client
from trial.cluster import wait_until
from trial.follower import Follower, Ran, Worker
from trial.ground import Ground
from trial.job import INDEX_LABEL, Bucket, Job, completed_indexes, job_like, verdict_of
from trial.ledger import ledger_of
from trial.sweep import Sweep

_SHARDS = 2
_BEGUN = 3
_HEALED_AFTER_S = 60.0
_EXITS_0 = """
import runpy, sys
try:
    runpy.run_path(sys.argv[1], run_name="__main__")
except SystemExit:
    pass
"""
"""Ends well when it is told to stop, as a program does that saves, and thinks that this is all there is to do."""


@dataclass(frozen=True, kw_only=True)
class _Side:
    name: str
    follower: Follower
    verdict: Callable[[], str]
    said_done: Callable[[], Set[int]]
    results: Callable[[], list[tuple[str, Ran]]]
    """What is in its results: on which host, and what that has finished when."""
    delete: Callable[[], None]


def outcomes_of(
    ground: Ground, program: Program, way_name: str, *, node: str, names: tuple[str, ...] = SIDES
) -> list[Outcome]:
    """Strike once, on a `node` of the trial's own that is there already, and return what it led to on each side."""
    return _Trial(ground, program, way_name, node).run(names)


class _Trial:
    def __init__(self, ground: Ground, program: Program, way_name: str, node: str) -> None:
        assert ground.testbed is not None
        self._ground = ground
        self._testbed = ground.testbed
        self._way = WAYS[way_name]
        self._limit_s = self._way.limit_s * (2 if program.computes else 1)
        self._node = self._name = node
        self._cluster = ground.cluster()
        matrix = program.matrix(_SHARDS * self._way.items)
        client = Client(
            image=program.image,
            checkpoint={"file": "results.jsonl"},
            spec={"shards": _SHARDS, "parallelism": _SHARDS, "items": {"matrix": matrix}},
        )
        python, script = program.command
        self._command = [python, "-c", _EXITS_0, script] if self._way.exits_0 else [python, script]
        self._manifest = client.manifest(ground, name=self._name, namespace=NAMESPACE)
        pod = self._manifest["spec"]["template"]["spec"]
        pod["containers"][0]["command"] = self._command
        pod["affinity"] = _preferring(self._node)
        items = items_of_matrix(matrix)
        self._items = {
            shard: frozenset(identity(item.key) for item in shard_of(items, shard=shard, shards=_SHARDS))
            for shard in range(_SHARDS)
        }

    def run(self, names: tuple[str, ...]) -> list[Outcome]:
        sides = [self._sweep()]
        try:
            # A sweep begins with more than a Job does: the Jobs wait, so that all have done about as much.
            self._wait_until_begun(sides, least=1)
            sides += [self._job(name) for name in names if name != SWEEP]
            self._wait_until_begun(sides, least=_BEGUN)
            return self._struck(sides)
        finally:
            for side in sides:
                side.follower.close()
                side.delete()
            with suppress(RigError):  # it is off already, mostly
                self._testbed.reclaim(self._node, how="delete")
            self._testbed.api.delete(f"/api/v1/nodes/{self._node}")

    def _struck(self, sides: list[_Side]) -> list[Outcome]:
        struck = {side.name: [each for each in side.follower.workers() if _works(each, self._node)] for side in sides}
        at = time.time()
        self._way.strike(self._testbed, self._node, [each.pod for hit in struck.values() for each in hit])
        say(f"  {self._name} is struck")
        ended: dict[str, float] = {}
        is_cut_off = self._way.is_healed
        while len(ended) < len(sides) and time.time() < at + self._limit_s:
            if is_cut_off and time.time() > at + _HEALED_AFTER_S:
                self._read_logs_there(sides)
                self._testbed.heal(self._node)
                is_cut_off = False
            for side in sides:
                if side.name not in ended and side.verdict():
                    ended[side.name] = time.time() - at
            time.sleep(0.5)
        watched_s = time.time() - at
        for side in sides:
            # Logs of nodes that are gone stay unread: what counts of them came before the strike.
            with suppress(TimeoutError):
                wait_until(lambda side=side: _is_all_read(side), what="logs", seconds=5)  # type: ignore[misc]
        results = {side.name: side.results() for side in sides}
        for side in sides:
            for host, ran in results[side.name]:
                side.follower.take(host, ran)
        outcomes = [
            outcome_of(
                side.name,
                struck=struck[side.name],
                at=at,
                workers=side.follower.workers(),
                items=self._items,
                kept={ran.key for _, ran in results[side.name]},
                said_done=side.said_done(),
                verdict=side.verdict(),
                watched_s=ended.get(side.name, watched_s),
            )
            for side in sides
        ]
        for outcome in outcomes:
            say(f"  {self._name}: {outcome}")
        return outcomes

    def _wait_until_begun(self, sides: list[_Side], *, least: int) -> None:
        def have_begun() -> bool:
            ended = [side.name for side in sides if side.verdict()]
            if ended:
                raise RuntimeError(f"{self._name}: {', '.join(ended)} ended before the others had begun: {clue()}")
            return all(
                len([each for each in side.follower.workers() if _works(each, self._node) and len(each.ran) >= least])
                == _SHARDS
                for side in sides
            )

        def clue() -> str:
            seen = [each for side in sides for each in side.follower.workers()]
            return "; ".join(f"{each.pod} on {each.node or 'no node'}: {len(each.ran)}" for each in seen)

        wait_until(have_begun, what=f"{self._name}: {least} items in each pod on its node", seconds=300, clue=clue)

    def _read_logs_there(self, sides: list[_Side]) -> None:
        # The API shows no log of a node that is cut off, and the kubelet removes it soon after it is healed.
        logs = self._testbed.state.machines / self._node / "log" / "pods"
        for side in sides:
            for worker in side.follower.workers():
                for file in logs.glob(f"{NAMESPACE}_{worker.pod}_*/experiment/*.log"):
                    # TIME STREAM F TEXT
                    words = [line.split(" ", 3) for line in file.read_text().splitlines()]
                    side.follower.take_lines(worker.pod, [f"{each[0]} {each[3]}" for each in words if len(each) == 4])

    def _sweep(self) -> _Side:
        sweep = Sweep(self._cluster, namespace=NAMESPACE, name=self._name)
        sweep.apply(self._manifest)
        follower = self._follower(
            f"resumable.dev/sweep={self._name},resumable.dev/role=attempt", index_label="resumable.dev/shard"
        )

        def verdict() -> str:
            phase = sweep.status().get("phase", "")
            return phase if phase in ("Complete", "Failed") else ""

        def results() -> list[tuple[str, Ran]]:
            merged = sweep.status().get("merged")
            if merged is None:
                return []
            found = ledger_of(sweep, environment=self._ground.local_env).merged(merged["sha256"])
            return [_recorded(entry) for entry in found.provenance]

        return _Side(
            name=SWEEP,
            follower=follower,
            verdict=verdict,
            said_done=lambda: set(self._items) if verdict() == "Complete" else set(),
            results=results,
            delete=sweep.delete,
        )

    def _job(self, side: str) -> _Side:
        job = Job(self._cluster, namespace=NAMESPACE, name=f"{self._name}-{side}")
        bucket = None
        if side == JOB_WITH_BUCKET:
            bucket = Bucket(
                endpoint=self._testbed.gcs_endpoint, name=self._testbed.bucket, folder=f"{NAMESPACE}/{job.name}"
            )
        job.apply(job_like(self._manifest, name=job.name, command=self._command, bucket=bucket))
        follower = self._follower(f"batch.kubernetes.io/job-name={job.name}", index_label=INDEX_LABEL)

        def results() -> list[tuple[str, Ran]]:
            if bucket is not None:
                return [found for index in self._items for found in _in_bucket(bucket, f"{index}.jsonl")]
            # As if somebody had fetched the file out of each pod that succeeded, the moment it did.
            return [(each.host, ran) for each in follower.workers() if each.phase == "Succeeded" for ran in each.ran]

        return _Side(
            name=side,
            follower=follower,
            verdict=lambda: verdict_of(job.status()),
            said_done=lambda: completed_indexes(job.status()),
            results=results,
            delete=job.delete,
        )

    def _follower(self, selector: str, *, index_label: str) -> Follower:
        return Follower(self._cluster, namespace=NAMESPACE, selector=selector, index_label=index_label)


def _preferring(node: str) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    term = {"weight": 100, "preference": {"matchExpressions": [here]}}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}


def _works(worker: Worker, node: str) -> bool:
    return worker.node == node and worker.phase == "Running" and not worker.is_gone


def _is_all_read(side: _Side) -> bool:
    ended = [each for each in side.follower.workers() if each.phase in ("Succeeded", "Failed")]
    return all(each.is_read or each.is_gone for each in ended)


def _in_bucket(bucket: Bucket, file: str) -> list[tuple[str, Ran]]:
    try:
        with urllib.request.urlopen(bucket.url_to_read(file), timeout=10) as response:
            return [_recorded(entry) for entry in results_of(entries_of(response.read())).values()]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise


def _recorded(entry: Mapping[str, Any]) -> tuple[str, Ran]:
    return entry["host"], Ran(key=identity(entry["key"]), at=float(entry["ended"]))
