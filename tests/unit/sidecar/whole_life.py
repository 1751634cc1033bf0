"""A shard's whole life with real processes: restore, mirror and a writer, killed at any moment and launched again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep_sidecar.store import open_store

# The experiment: goes on after the last whole line, and is slow enough to be caught anywhere. After so many records it
# waits until they are durable, and notes their keys where no node's death reaches.
WRITER = """
import hashlib, json, os, sys, time
from pathlib import Path
snapshot = Path(os.environ["SWEEP_SNAPSHOT_DIR"])
path = snapshot / "results.jsonl"
pause, durable_every, noted = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
recorded = []
if durable_every:
    from resumable_sweep._durability import Acknowledgements
    acknowledgements = Acknowledgements(snapshot)
    assert acknowledgements.there
lines = open(path, "rb").read() if os.path.exists(path) else b""
lines = lines[: lines.rfind(b"\\n") + 1]
done = {json.loads(line).get("key") for line in lines.splitlines()}
with open(path, "ab") as log:
    log.truncate(len(lines))
    def add(entry):
        data = json.dumps(entry).encode() + b"\\n"
        log.write(data[: len(data) // 2]); log.flush()
        log.write(data[len(data) // 2 :]); log.flush(); os.fsync(log.fileno())
    if not lines:
        add({"kind": "header", "schema_version": 1, "run_id": os.environ["SWEEP_RUN_ID"]})
    for line in open(os.environ["SWEEP_ITEMS"], encoding="utf-8"):
        key = json.loads(line)["key"]
        if key not in done:
            time.sleep(pause)
            add({"kind": "done", "key": key, "result": hashlib.sha256(key.encode()).hexdigest() * 20,
                 "attempt": int(os.environ["SWEEP_ATTEMPT"])})
            recorded.append(key)
            if durable_every and len(recorded) >= durable_every:
                acknowledgements.wait(path, log.tell(), stop=lambda: False, report=print)
                with open(noted, "a") as file:
                    file.write("".join(key + "\\n" for key in recorded))
                recorded.clear()
"""


class Run:
    """One run with its store, its shards' pods following each other on this machine."""

    def __init__(
        self, folder: Path, store_url: str, *, items: int, shards: int, environment: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.shards = shards
        self.store = open_store(store_url, deadline_s=20)
        self._started: list[subprocess.Popen[str]] = []
        self._base = {
            **os.environ,
            **environment,
            "SWEEP_STORE_URL": store_url,
            "SWEEP_RUN_ID": "run",
            "SWEEP_SHARDS": str(shards),
            "SWEEP_CHECKPOINT_FILE": "results.jsonl",
            "SWEEP_INTERVAL": "0.1",
            "SWEEP_PORT": "0",
        }
        specification = folder / "items.json"
        specification.write_text(json.dumps({"list": [{"key": f"item-{number}"} for number in range(items)]}))
        outcome = self.role("resolve", "--items", str(specification), expect=0)
        assert outcome["details"]["items"] == items
        self._base["SWEEP_ITEMS_SHA256"] = outcome["details"]["items_sha256"]

    def role(self, *arguments: str, expect: int, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run one role to its end and return its termination message."""
        done = subprocess.run(
            [sys.executable, "-m", "sweep_sidecar", *arguments],
            env={**self._base, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == expect, done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return outcome

    def pod_environment(self, shard: int, attempt: int) -> dict[str, str]:
        """Return the environment of one attempt's containers, with a snapshot directory of its own."""
        snapshot = self.folder / f"pod-{shard}-{attempt}"
        snapshot.mkdir(exist_ok=True)
        return {
            "SWEEP_SHARD": str(shard),
            "SWEEP_ATTEMPT": str(attempt),
            "SWEEP_POD_UID": f"pod-{shard}-{attempt}",
            "SWEEP_SNAPSHOT_DIR": str(snapshot),
            "SWEEP_ITEMS": str(snapshot / ".sweep" / "items.jsonl"),
        }

    def start_mirror(self, pod: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start the mirror of a pod, and wait for its startup probe as the kubelet does."""
        mirror = subprocess.Popen(
            [sys.executable, "-m", "sweep_sidecar", "mirror"],
            env={**self._base, **pod},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._started.append(mirror)
        deadline = time.monotonic() + 30
        while not _is_ready(mirror.pid):
            assert mirror.poll() is None, f"the mirror ended with {mirror.returncode}"
            assert time.monotonic() < deadline, "the mirror is not ready"
            time.sleep(0.02)
        return mirror

    def start_writer(self, pod: Mapping[str, str], *, pause_s: float, durable_every: int = 0) -> subprocess.Popen[str]:
        """Start the experiment of a pod; after every `durable_every` records it waits for the store, 0 = never."""
        command = [sys.executable, "-c", WRITER, str(pause_s), str(durable_every), str(self.folder / "durable")]
        writer = subprocess.Popen(command, env={**self._base, **pod}, text=True)
        self._started.append(writer)
        return writer

    def close(self) -> None:
        """End what a failed test has left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def durable(self) -> list[str]:
        """Return the keys of which the experiments were told that they are durable."""
        noted = self.folder / "durable"
        return noted.read_text().split() if noted.exists() else []

    def live(self, shard: int, attempt: int, *, kill_after_s: float | None, pause_s: float = 0.02) -> dict[str, Any]:
        """Live one attempt, to its end or until the node dies under it, and return its last words ({}: none)."""
        pod = self.pod_environment(shard, attempt)
        self.role("restore", expect=0, environment=pod)
        mirror = self.start_mirror(pod)
        writer = self.start_writer(pod, pause_s=pause_s)
        if kill_after_s is not None:
            time.sleep(kill_after_s)  # the moment of death: anywhere
            for process in (writer, mirror):
                process.send_signal(signal.SIGKILL)
            writer.wait()
            mirror.communicate()
            return {}
        assert writer.wait(60) == 0
        mirror.send_signal(signal.SIGTERM)
        said, _ = mirror.communicate(timeout=60)
        assert mirror.returncode == 0
        outcome: dict[str, Any] = json.loads(said.splitlines()[-1])
        return outcome

    def merged(self) -> bytes:
        """Return the merged results."""
        details = self.role("merge", expect=0)["details"]
        data = self.store.get(details["url"].removeprefix(self.store.url + "/"))
        assert hashlib.sha256(data).hexdigest() == details["sha256"]
        return data


def expected(items: int) -> bytes:
    """Return the merged results of an uninterrupted run."""
    lines = []
    for number in range(items):
        key = f"item-{number}"
        result = hashlib.sha256(key.encode()).hexdigest() * 20
        lines.append(f'{{"key":"{key}","result":"{result}"}}\n')
    return "".join(lines).encode()


def killed_again_and_again(run: Run, *, items: int, deaths: int, chance: random.Random) -> None:
    """Let every shard die several times before it may end, and compare what comes out."""
    for shard in range(run.shards):
        for attempt in range(deaths):
            run.live(shard, attempt, kill_after_s=chance.uniform(0.2, 0.9))
        outcome = run.live(shard, deaths, kill_after_s=None, pause_s=0.001)
        assert outcome["reason"] == "Complete", outcome
        assert outcome["details"]["stage"] == "complete"
        assert outcome["details"]["items_done"] == outcome["details"]["items_total"] == items // run.shards
        # Something was durable before the last attempt: the restores were no fresh starts.
        assert outcome["details"]["items_restored"] > 0
    assert run.merged() == expected(items)


def killed_while_it_waits_for_the_store(run: Run, *, items: int, deaths: int, chance: random.Random) -> None:
    """Let a shard that records durably die, see whether its successors find all that was durable, and let it end.

    The mirror looks only when it is asked to: its interval never comes.
    """
    for attempt in range(deaths + 1):
        pod = run.pod_environment(0, attempt) | {"SWEEP_INTERVAL": "600"}
        run.role("restore", expect=0, environment=pod)
        told = run.durable()
        assert set(told) <= recorded_in(pod)
        if attempt == deaths:
            break
        mirror = run.start_mirror(pod)
        writer = run.start_writer(pod, pause_s=0.02, durable_every=5)
        deadline = time.monotonic() + 60
        while len(run.durable()) == len(told):
            assert writer.poll() is None, "the experiment has ended"
            assert time.monotonic() < deadline, "nothing became durable"
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 1.2))  # the moment of death: anywhere
        for process in (writer, mirror):
            process.send_signal(signal.SIGKILL)
        writer.wait()
        mirror.communicate()
    assert run.live(0, deaths, kill_after_s=None, pause_s=0.001)["reason"] == "Complete"
    assert run.merged() == expected(items)


def recorded_in(pod: Mapping[str, str]) -> set[str]:
    """Return the keys with a result in a pod's snapshot directory."""
    log = Path(pod["SWEEP_SNAPSHOT_DIR"]) / "results.jsonl"
    lines = log.read_bytes().splitlines() if log.exists() else []
    return {entry["key"] for entry in map(json.loads, lines) if entry["kind"] == "done"}


def port_of(pid: int) -> int:
    """Return the TCP port that a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = str(link.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            return int(fields[1].partition(":")[2], 16)
    raise LookupError(f"process {pid} does not listen")


def _is_ready(pid: int) -> bool:
    try:
        return ask(port_of(pid), "/healthz") == 200
    except (LookupError, OSError):
        return False


def ask(port: int, path: str) -> int:
    """GET a path of a mirror and return the status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
