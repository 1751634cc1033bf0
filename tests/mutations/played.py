"""One sweep on the stage: brought to a phase of its life, changed, and let go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mutations.stage import SWEEPS, ApiError, Seen, Stage
from mutations.sweeps import CONFIG_MAP, ITEMS, SHARDS

PHASES = (
    "unresolved",
    "pending",
    "running",
    "reclaimed",
    "suspended",
    "merging",
    "complete",
    "failed",
    "deleting",
)
CREATED = "created"
"""Instead of a phase: the sweep is created so."""
WAIT_SECONDS = 180.0
_ROLES = ("resolve", "attempt", "merge")
_FINALIZER = "example.com/keeps-it"
RETRY = "resumable.dev/retry"


class Stuck(Exception):
    """What was waited for never came; the message says where the sweep stands."""


class Played:
    """A sweep of a name of its own in a namespace of the stage."""

    def __init__(self, stage: Stage, namespace: str, spec: dict[str, Any]) -> None:
        self.stage = stage
        self.namespace = namespace
        self.name = stage.next_name()
        self.written = 0
        """Generation of what was written last."""
        self._first = spec

    @property
    def path(self) -> str:
        """Path of the sweep."""
        return f"{SWEEPS}/namespaces/{self.namespace}/resumablesweeps/{self.name}"

    @property
    def seen(self) -> Seen | None:
        """What the watch has told of it."""
        return self.stage.watcher.seen(self.namespace, self.name)

    @property
    def status(self) -> dict[str, Any]:
        """Its status as last shown."""
        return dict(self.seen.shown.get("status") or {}) if self.seen is not None else {}

    @property
    def phase(self) -> str:
        """Where it says that it stands."""
        return str(self.status.get("phase", ""))

    def condition(self, kind: str) -> dict[str, Any]:
        """Return one of its conditions, {} where it has none of that type."""
        return next((each for each in self.status.get("conditions") or () if each["type"] == kind), {})

    def pods(self, role: str = "attempt") -> list[dict[str, Any]]:
        """Return its pods of a role."""
        selector = f"resumable.dev%2Fsweep%3D{self.name},resumable.dev%2Frole%3D{role}"
        listed = self.stage.api.get(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={selector}")
        return list(listed["items"])

    def events(self, *, reason: str = "", warnings: bool = False) -> list[str]:
        """Return the messages of its events of a reason, or of those that warn."""
        listed = self.stage.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [
            event["message"]
            for event in listed
            if event["involvedObject"]["name"] == self.name
            and reason in ("", event["reason"])
            and (event["type"] == "Warning" or not warnings)
        ]

    def bring_to(self, phase: str) -> None:
        """Create it and bring it to a phase, where it stays until it is let go."""
        reach: Callable[[], None] = getattr(self, f"_to_{phase}")
        reach()

    def let_go(self) -> None:
        """Let everything go on that was held."""
        for role in _ROLES:
            self.stage.player.let_through(self.namespace, role, sweep=self.name)
        for shard in range(SHARDS):
            self.stage.player.release(self.namespace, shard, sweep=self.name)

    def get(self) -> dict[str, Any]:
        """Return the object as the API server has it."""
        shown: dict[str, Any] = self.stage.api.get(self.path)
        return shown

    def put(self, spec: dict[str, Any], *, dry: bool = False) -> dict[str, Any]:
        """Write a spec as `kubectl replace` does: unknown fields are errors.

        Raises
        ------
        ApiError
        """
        path = f"{self.path}?fieldValidation=Strict" + ("&dryRun=All" if dry else "")
        while True:
            body = {**self.get(), "spec": spec}
            try:
                written: dict[str, Any] = self.stage.api.request("PUT", path, body=body)
            except ApiError as error:
                if error.status != 409:
                    raise
                continue
            if not dry:
                self.written = written["metadata"]["generation"]
            return written

    def has_heeded(self) -> bool:
        """Whether the operator has acted upon what was written last."""
        return bool(self.status.get("observedGeneration", 0) >= self.written)

    def retry(self, wish: str) -> None:
        """Ask for shards to be run again, and wait until the operator has heard it."""
        self.stage.api.patch(self.path, {"metadata": {"annotations": {RETRY: wish}}})
        self.wait(lambda: self.status.get("retried") == wish, f"the wish {wish} to be heard")

    def let_be_deleted(self) -> None:
        """Take the finalizer away that keeps it."""
        self.stage.api.patch(self.path, {"metadata": {"finalizers": None}})

    def wait(self, condition: Callable[[], bool], what: str, *, seconds: float | None = None) -> None:
        """Wait until `condition` holds.

        Raises
        ------
        Stuck
        """
        limit = WAIT_SECONDS if seconds is None else seconds
        if not self.stage.watcher.wait(condition, seconds=limit):
            raise Stuck(f"waited {limit:.0f} s for {what}; {self.told()}")

    def told(self) -> str:
        """Return where the sweep stands, for people."""
        told = {name: self.status.get(name) for name in ("phase", "done", "attempts", "shardTable", "conditions")}
        return f"{self.namespace}/{self.name}: {json.dumps(told)}"

    def create(self, *, finalizers: tuple[str, ...] = ()) -> None:
        """Create it."""
        if "configMapKeyRef" in str(self._first.get("items")):
            self._provide_items()
        metadata = {"name": self.name, "finalizers": list(finalizers)}
        body = {
            "apiVersion": "resumable.dev/v1alpha1",
            "kind": "ResumableSweep",
            "metadata": metadata,
            "spec": self._first,
        }
        self.stage.api.create(f"{self.path.rpartition('/')[0]}?fieldValidation=Strict", body)

    def _provide_items(self) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps"
        body = {"metadata": {"name": CONFIG_MAP["name"]}, "data": {CONFIG_MAP["key"]: json.dumps(ITEMS)}}
        try:
            self.stage.api.create(path, body)
        except ApiError as error:
            if error.status != 409:
                raise

    def _hold_back(self, role: str) -> None:
        self.stage.player.hold_back(self.namespace, role, sweep=self.name)

    def _run(self) -> None:
        """Have all shards stand still with one item each."""
        for shard in range(SHARDS):
            self.stage.player.hold(self.namespace, shard, items=1, sweep=self.name)
        self.create(finalizers=(_FINALIZER,) if self._is_to_be_deleted else ())
        player = self.stage.player
        self.wait(
            lambda: all(player.holds(self.namespace, shard, sweep=self.name) for shard in range(SHARDS)),
            "all shards to stand still",
        )

    _is_to_be_deleted = False

    def _to_unresolved(self) -> None:
        self._hold_back("resolve")
        self.create()
        self.wait(lambda: bool(self.pods("resolve")), "the pod that resolves")

    def _to_pending(self) -> None:
        self._hold_back("attempt")
        self.create()
        self.wait(lambda: len(self.pods()) == SHARDS, "the attempts' pods")

    def _to_running(self) -> None:
        self._run()

    def _to_reclaimed(self) -> None:
        self._run()
        self._hold_back("attempt")
        lost = self.stage.player.lose(self.namespace, 0, how="node", sweep=self.name)
        self.wait(
            lambda: (
                any(int(pod["metadata"]["labels"]["resumable.dev/attempt"]) > lost for pod in self.pods())
                and self.status.get("reclaims") == 1
            ),
            "the next attempt's pod",
        )

    def _to_suspended(self) -> None:
        self._run()
        self.put({**self.get()["spec"], "suspend": True})
        self.wait(lambda: self.phase == "Suspended", "the suspension")

    def _to_merging(self) -> None:
        self._hold_back("merge")
        self.create()
        self.wait(lambda: self.phase == "Merging" and bool(self.pods("merge")), "the merge")

    def _to_complete(self) -> None:
        self.create()
        self.wait(lambda: self.phase == "Complete", "the end")

    def _to_failed(self) -> None:
        self._run()
        self.stage.player.lose(self.namespace, 0, how="crash", sweep=self.name)
        self.stage.player.release(self.namespace, 1, sweep=self.name)
        self.wait(lambda: self.phase == "Failed", "the failure")

    def _to_deleting(self) -> None:
        self._is_to_be_deleted = True
        self._run()
        self.stage.api.delete(self.path)
        self.wait(lambda: "deletionTimestamp" in self.get()["metadata"], "the deletion")
