"""What completes a shard, by what it has recorded, what is known of its items, and what the specification says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from resumable_sweep.contract.manifest import Manifest
from resumable_sweep.contract.report import Experiment, Stage
from sweep_sidecar.housekeeping import resolve
from unit.sidecar.pods import HEADER, Cluster, gmat, last_line, line

MIME = b'{"completed": [{"key": 0, "result": 0}, {"key": 1, "result": 1}]}'
HALF = HEADER + line(0)
ALL = HEADER + line(0) + line(1)
SAID = ALL + last_line(0, 1)
FILES = {
    "nothing that counts": ("out.bin", b"state"),
    "half in the library's log": ("results.jsonl", HALF),
    "all in the library's log": ("results.jsonl", ALL),
    "all, and the library says so": ("results.jsonl", SAID),
    "all of mime-engine's": ("out.progress.json", MIME),
    "all of gmat-sweep's": ("manifest.jsonl", gmat("ok", "ok")),
    "half of gmat-sweep's": ("manifest.jsonl", gmat("ok", "failed")),
}

# By the file: proofs with items named and without, for completion absent, Recorded and ExitCode; "" = none.
EXPECTED = {
    "nothing that counts": (("", "", "exit"), ("exit", "", "exit")),
    "half in the library's log": (("", "", "exit"), ("", "", "exit")),
    "all in the library's log": (("items", "items", "items"), ("", "", "exit")),
    "all, and the library says so": (("log", "log", "log"), ("log", "log", "log")),
    "all of mime-engine's": (("items", "items", "items"), ("exit", "", "exit")),
    "all of gmat-sweep's": (("items", "items", "items"), ("exit", "", "exit")),
    "half of gmat-sweep's": (("", "", "exit"), ("exit", "", "exit")),
}
CASES = [
    (written, named, completion, EXPECTED[written][0 if named else 1][place])
    for written in FILES
    for named in (True, False)
    for place, completion in enumerate(("", "Recorded", "ExitCode"))
]


def cluster_with(folder: Path, written: str, *, named: bool, completion: str) -> Cluster:
    cluster = Cluster(folder)
    cluster.named, content = FILES[written]
    cluster.completion = completion
    cluster.progress = "Gmat" if cluster.named == "manifest.jsonl" else ""
    if named:
        cluster.items_sha256 = resolve(cluster.store, '[{"key": 0}, {"key": 1}]').sha256
    cluster.restore(1)
    cluster.append(1, content, cluster.named)
    if content is MIME:
        # Without its manifest it is not whole.
        says = Manifest(hashlib.sha256(MIME).hexdigest(), len(MIME))
        cluster.append(1, says.to_json().encode(), f"{cluster.named}.manifest.json")
    return cluster


@pytest.mark.parametrize(("written", "named", "completion", "proof"), CASES)
def test_a_program_that_exits_with_0(tmp_path: Path, written: str, named: bool, completion: str, proof: str) -> None:
    cluster = cluster_with(tmp_path, written, named=named, completion=completion)
    writer = cluster.mirror(1)
    writer.finish(lambda: Experiment.SUCCEEDED)
    assert writer.report.stage is (Stage.COMPLETE if proof else Stage.SEALED)
    assert cluster.last_body().get("proof", "") == proof


@pytest.mark.parametrize(("written", "named", "completion", "proof"), CASES)
@pytest.mark.parametrize("experiment", [Experiment.FAILED, Experiment.UNKNOWN])
def test_no_other_end_counts(
    tmp_path: Path, written: str, named: bool, completion: str, proof: str, experiment: Experiment
) -> None:
    cluster = cluster_with(tmp_path, written, named=named, completion=completion)
    writer = cluster.mirror(1)
    writer.finish(lambda: experiment)
    assert cluster.last_body().get("proof", "") == ("" if proof == "exit" else proof)


def test_a_key_that_has_no_form_in_utf_8_does_not_keep_a_shard_from_its_end(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    writer = cluster.pod(1)
    cluster.append(1, HEADER + line(0) + b'{"kind":"done","key":"\\ud800","result":1}\n')
    writer.finish(lambda: Experiment.UNKNOWN)
    assert writer.report.stage is Stage.SEALED
    assert writer.report.items_done == 2
