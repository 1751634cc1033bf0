from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resumable_sweep.contract.items import items_of_matrix, parsed_items, shard_of
from trial import keep_in_bucket
from trial.client import Client
from trial.ground import Ground
from trial.job import Bucket, completed_indexes, job_like, verdict_of

MATRIX = {"n": list(range(5)), "seconds": [1]}
COMMAND = ["python3", "experiment.py"]
BUCKET = Bucket(endpoint="http://store:4443", name="sweeps", folder="jobs/one")


@pytest.fixture
def sweep() -> dict[str, Any]:
    ground = Ground(
        kubeconfig=Path("kubeconfig"),
        images={"pacer": "registry/pacer:1"},
        store="gs://bucket/folder",
        store_env=[],
        faults=SimpleNamespace(),  # type: ignore[arg-type]  # nothing is struck here
    )
    spec = {"shards": 2, "parallelism": 2, "items": {"matrix": MATRIX}}
    client = Client(image="pacer", checkpoint={"file": "results.jsonl"}, spec=spec)
    return client.manifest(ground, name="sweep", namespace="peers")


def test_each_index_has_the_items_of_the_shard(sweep: dict[str, Any]) -> None:
    config_map, job = job_like(sweep, name="job", command=COMMAND)
    assert job["spec"]["completions"] == len(config_map["data"]) == 2
    for shard in range(2):
        expected = shard_of(items_of_matrix(MATRIX), shard=shard, shards=2)
        assert parsed_items(config_map["data"][f"shard-{shard}.jsonl"]) == expected


def test_its_pods_are_like_those_of_the_sweep(sweep: dict[str, Any]) -> None:
    _, job = job_like(sweep, name="job", command=COMMAND)
    mine = job["spec"]["template"]["spec"]
    (container,) = mine["containers"]
    theirs = sweep["spec"]["template"]["spec"]
    for field in ("image", "resources", "securityContext"):
        assert container[field] == theirs["containers"][0][field]
    assert mine["securityContext"] == theirs["securityContext"]
    assert mine["restartPolicy"] == "Never"
    assert container["command"] == COMMAND
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in mine["volumes"]}


def test_with_a_bucket_it_begins_with_what_it_put_there(sweep: dict[str, Any]) -> None:
    config_map, job = job_like(sweep, name="job", command=COMMAND, bucket=BUCKET)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python3", "/job/keep_in_bucket.py", *COMMAND]
    assert config_map["data"]["keep_in_bucket.py"] == Path(keep_in_bucket.__file__).read_text()
    names = [variable["name"] for variable in container["env"]]
    assert names.index("JOB_COMPLETION_INDEX") == 0
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert env["SWEEP_RESUME_FROM"] == "http://store:4443/sweeps/jobs/one/$(JOB_COMPLETION_INDEX).jsonl"
    assert str(env["KEEP_AT"]).endswith("b/sweeps/o?uploadType=media&name=jobs%2Fone%2F$(JOB_COMPLETION_INDEX).jsonl")


@pytest.mark.parametrize(
    ("said", "indexes"), [(None, set()), ("", set()), ("3", {3}), ("0,2-4,7", {0, 2, 3, 4, 7}), ("10-11", {10, 11})]
)
def test_completed_indexes_are_ranges(said: str | None, indexes: set[int]) -> None:
    assert completed_indexes({"completedIndexes": said}) == indexes


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [
        ([], ""),
        ([{"type": "SuccessCriteriaMet", "status": "True"}], ""),
        ([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}], "Complete"),
        ([{"type": "FailureTarget", "status": "True"}, {"type": "Failed", "status": "True"}], "Failed"),
    ],
)
def test_only_the_last_word_of_a_job_is_its_verdict(conditions: list[dict[str, str]], verdict: str) -> None:
    assert verdict_of({"conditions": conditions}) == verdict


class _Store(http.server.BaseHTTPRequestHandler):
    refusals = 1
    kept: list[bytes]

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if _Store.refusals:
            _Store.refusals -= 1
            self.send_error(503)
            return
        _Store.kept.append(data)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Keep quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    _Store.refusals, _Store.kept = 1, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Store) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/upload"
        server.shutdown()


def kept(url: str, results: Path, program: str, *, stop: bool = False) -> int:
    command = [sys.executable, keep_in_bucket.__file__, sys.executable, "-u", "-c", program]
    environment = {**os.environ, "RESULTS": str(results), "KEEP_AT": url}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        if stop:
            process.send_signal(signal.SIGTERM)
        return process.wait(30)


@pytest.mark.parametrize(
    ("end", "stop", "status"), [("", False, 0), ("sys.exit(3)", False, 3), ("signal.pause()", True, 143)]
)
def test_results_are_kept_however_the_program_ends(url: str, tmp_path: Path, end: str, stop: bool, status: int) -> None:
    results = tmp_path / "results.jsonl"
    program = f"import signal, sys; open({str(results)!r}, 'w').write('one'); print('begun'); {end or 'pass'}"
    assert kept(url, results, program, stop=stop) == status
    assert _Store.kept == [b"one"]


def test_without_results_there_is_nothing_to_keep(url: str, tmp_path: Path) -> None:
    assert kept(url, tmp_path / "results.jsonl", "print('begun'); raise SystemExit(4)") == 4
    assert _Store.kept == []
