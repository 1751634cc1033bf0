"""Watching a sweep's pods from the side: when each attempt was created, where it ran, and what its program printed."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from trial.cluster import Cluster, Refused
from trial.sweep import Sweep

_RAN = "ran "


@dataclass
class AttemptSeen:
    """One attempt's pod; times are Unix seconds on this machine's clock."""

    shard: int
    attempt: int
    pod: str
    created_at: float
    node: str = ""
    ran: list[str] = field(default_factory=list)
    """Canonical keys of the items whose work its program finished, in order, recorded or not."""
    exit_code: int | None = None
    """How its program ended; None where that was never published."""


class Observer:
    """Follows one sweep in threads of its own, until it is closed."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._kubeconfig = sweep.cluster.kubeconfig
        self._lock = threading.Lock()
        self._attempts: dict[int, AttemptSeen] = {}
        self._followed: set[str] = set()
        self._closed = threading.Event()
        threading.Thread(target=self._follow_pods, name="observe pods", daemon=True).start()

    def close(self) -> None:
        """Stop following."""
        self._closed.set()

    def attempts(self) -> list[AttemptSeen]:
        """Return the attempts seen so far, by number."""
        with self._lock:
            return [self._attempts[attempt] for attempt in sorted(self._attempts)]

    def work_done(self) -> Counter[str]:
        """Return how often the work of each item was done."""
        return Counter(key for attempt in self.attempts() for key in list(attempt.ran))

    def successor_of(self, shard: int, attempt: int) -> AttemptSeen | None:
        """Return the attempt that came after this one on the same shard, None while there is none."""
        later = [seen for seen in self.attempts() if seen.shard == shard and seen.attempt > attempt]
        return later[0] if later else None

    def _follow_pods(self) -> None:
        cluster = Cluster(self._kubeconfig)
        selector = f"resumable.dev/sweep={self._sweep.name},resumable.dev/role=attempt"
        path = f"/api/v1/namespaces/{self._sweep.namespace}/pods"
        while not self._closed.is_set():
            try:
                # Without a version the watch begins with all that is there.
                for line in cluster.lines(path, labelSelector=selector, watch="true", timeoutSeconds="60"):
                    if self._closed.is_set():
                        return
                    self._take(json.loads(line))
            except Refused:
                time.sleep(0.5)

    def _take(self, event: dict[str, object]) -> None:
        pod = event["object"]
        assert isinstance(pod, dict)
        if event["type"] not in ("ADDED", "MODIFIED"):
            return
        metadata = pod["metadata"]
        attempt = int(metadata["labels"]["resumable.dev/attempt"])
        with self._lock:
            seen = self._attempts.setdefault(
                attempt,
                AttemptSeen(
                    shard=int(metadata["labels"]["resumable.dev/shard"]),
                    attempt=attempt,
                    pod=metadata["name"],
                    created_at=time.time(),
                ),
            )
            seen.node = pod["spec"].get("nodeName") or seen.node
        statuses = pod["status"].get("containerStatuses") or ()
        for status in statuses:
            if "terminated" in status["state"]:
                seen.exit_code = status["state"]["terminated"]["exitCode"]
        if seen.pod not in self._followed and any("waiting" not in each["state"] for each in statuses):
            self._followed.add(seen.pod)
            container = pod["spec"]["containers"][0]["name"]
            threading.Thread(target=self._follow_log, args=(seen, container), name=seen.pod, daemon=True).start()

    def _follow_log(self, seen: AttemptSeen, container: str) -> None:
        cluster = Cluster(self._kubeconfig)
        path = f"/api/v1/namespaces/{self._sweep.namespace}/pods/{seen.pod}/log"
        for _ in range(20):
            try:
                for line in cluster.lines(path, follow="true", container=container):
                    text = line.decode(errors="replace")
                    if text.startswith(_RAN):
                        seen.ran.append(text.removeprefix(_RAN).strip())
                return
            except Refused as refused:
                if refused.status != 400 or self._closed.wait(0.5):
                    # 400: the container is still starting. Anything else: the node is gone, and its log with it.
                    return
