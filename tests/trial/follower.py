"""Following the pods of a Job or of a sweep alike: which came after which, and when which items were finished."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trial.cluster import Cluster, Refused

_RAN = "ran "
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Ran:
    """One line of a program that has finished an item: its canonical key, and when, in Unix seconds of its node."""

    key: str
    at: float


@dataclass
class Worker:
    """One pod that works on a shard, or on an index; `created_at` in Unix seconds on this machine's clock."""

    pod: str
    index: int
    created_at: float
    host: str = ""
    """Its host name, which the next pod of a Job's index has too."""
    node: str = ""
    phase: str = ""
    is_gone: bool = False
    disrupted: str = ""
    """Reason of its condition `DisruptionTarget`; empty where it never had one."""
    exit_code: int | None = None
    ran: list[Ran] = field(default_factory=list)
    is_read: bool = False
    """Whether its log was read to the end."""


class Follower:
    """Follows the pods that `selector` picks, in threads of its own, until it is closed.

    `index_label` names the label with the number of a pod's shard or index. Programs say `ran KEY` of each item.
    """

    def __init__(self, cluster: Cluster, *, namespace: str, selector: str, index_label: str) -> None:
        self._kubeconfig = cluster.kubeconfig
        self._namespace = namespace
        self._selector = selector
        self._index_label = index_label
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._closed = threading.Event()
        threading.Thread(target=self._follow_pods, name=f"follow {selector}", daemon=True).start()

    def close(self) -> None:
        """Stop following."""
        self._closed.set()

    def workers(self) -> list[Worker]:
        """Return the pods seen so far, oldest first."""
        with self._lock:
            return sorted(self._workers.values(), key=lambda worker: worker.created_at)

    def take_lines(self, pod: str, lines: Iterable[str]) -> None:
        """Take lines of a pod's log, each behind its time, that were read in another way than through the API."""
        with self._lock:
            worker = self._workers[pod]
        for line in lines:
            _take_line(worker, line)

    def take(self, host: str, ran: Ran) -> None:
        """Take an item that a pod has finished, as its results say: its log may be gone before it was read.

        They name the host. Of several pods of that name it was the newest that was there by then.
        """
        of_host = [worker for worker in self.workers() if worker.host == host]
        there = [worker for worker in of_host if worker.created_at <= ran.at] or of_host[:1]
        if not there:
            raise LookupError(f"no pod was seen whose host is {host}")
        _note(there[-1], ran)

    def _follow_pods(self) -> None:
        cluster = Cluster(self._kubeconfig)
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        while not self._closed.is_set():
            try:
                # Without a version the watch begins with all that is there.
                for line in cluster.lines(path, labelSelector=self._selector, watch="true", timeoutSeconds="60"):
                    if self._closed.is_set():
                        return
                    self._take(json.loads(line))
            except Refused:
                self._closed.wait(0.5)

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            return
        pod = event["object"]
        name = pod["metadata"]["name"]
        with self._lock:
            is_new = name not in self._workers
            index = int(pod["metadata"]["labels"][self._index_label])
            worker = self._workers.setdefault(name, Worker(pod=name, index=index, created_at=time.time()))
        worker.host = pod["spec"].get("hostname") or name
        worker.node = pod["spec"].get("nodeName") or worker.node
        worker.phase = pod["status"].get("phase", "")
        worker.is_gone = event["type"] == "DELETED"
        for condition in pod["status"].get("conditions") or ():
            if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
                worker.disrupted = condition.get("reason", "")
        for status in pod["status"].get("containerStatuses") or ():
            if "terminated" in status["state"]:
                worker.exit_code = status["state"]["terminated"]["exitCode"]
        if is_new:
            container = pod["spec"]["containers"][0]["name"]
            threading.Thread(target=self._follow_log, args=(worker, container), name=name, daemon=True).start()

    def _follow_log(self, worker: Worker, container: str) -> None:
        cluster = Cluster(self._kubeconfig)
        path = f"/api/v1/namespaces/{self._namespace}/pods/{worker.pod}/log"
        query = {"follow": "true", "timestamps": "true", "container": container}
        while not self._closed.is_set():
            has_ended = worker.phase in _ENDED or worker.is_gone
            try:
                for line in cluster.lines(path, **query):
                    _take_line(worker, line.decode(errors="replace"))
                # A connection to a kubelet that is cut off ends as a log does: that is whole once its pod has ended.
                if has_ended:
                    worker.is_read = True
                    return
            except Refused:
                # Whatever is said of a pod that is there, 404 too: its kubelet may not have heard of it yet.
                if worker.is_gone:
                    return
            self._closed.wait(0.5)


def _take_line(worker: Worker, line: str) -> None:
    stamp, _, text = line.partition(" ")
    if not text.startswith(_RAN):
        return
    _note(worker, Ran(key=text.removeprefix(_RAN).strip(), at=datetime.fromisoformat(stamp).timestamp()))


def _note(worker: Worker, ran: Ran) -> None:
    # A program does no item twice, but its log may be read more than once.
    if all(each.key != ran.key for each in worker.ran):
        worker.ran.append(ran)
