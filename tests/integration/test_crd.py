"""The definition on a real API server: what it takes, refuses, fills in, prunes and shows."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from rig.api import Api, ApiError
from rig.binaries import binaries
from rig.commands import run
from rig.control_plane import ControlPlane
from rig.progress import keep_quiet
from sweep_operator.api import (
    API_VERSION,
    KIND,
    MAX_NAME_LENGTH,
    PLURAL,
    Condition,
    ItemsStatus,
    Merged,
    Phase,
    Reclaim,
    ResumableSweep,
    ResumableSweepStatus,
    Shards,
)

pytestmark = pytest.mark.integration

SWEEPS = f"/apis/{API_VERSION}/namespaces/default/{PLURAL}"
ABSENT = object()
RECLAIM = {"time": "2026-11-22T07:20:49Z", "shard": 3, "attempt": 3}
_numbers = itertools.count()


def sweep(changes: dict[str, Any] | None = None, *, name: str = "") -> dict[str, Any]:
    """Return a sweep that is in order, with `changes` (dotted path in spec: value, ABSENT = left out) applied."""
    spec: dict[str, Any] = {
        "shards": 8,
        "items": {"list": [1, 2, 3]},
        "checkpoint": {"url": "gs://bucket/sweeps", "file": "results.jsonl"},
        "template": {"spec": {"containers": [{"name": "experiment", "image": "digits:1"}]}},
    }
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place = spec
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is ABSENT:
            del place[last]
        else:
            place[last] = value
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name or f"sweep-{next(_numbers)}"},
        "spec": spec,
    }


def create(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    # Strict is what kubectl asks for: an unknown field is an error then, not a warning.
    created: dict[str, Any] = api.create(f"{SWEEPS}?fieldValidation=Strict", body)
    return created


def refusal(api: Api, body: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as caught:
        create(api, body)
    assert caught.value.status in (400, 422), caught.value
    return str(caught.value)


ENV = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "store", "key": "key"}}}
ACCEPTED: dict[str, dict[str, Any]] = {
    "the least there can be": {"items": ABSENT},
    "10,000 shards": {"shards": 10_000},
    "fewer at a time than shards": {"parallelism": 1},
    "a run id": {"runId": "2026-11-22_A.1"},
    "a run to start from": {"resumeFrom": "s3://bucket/sweeps/ns/lr/2026-11-22_A.1"},
    "drift that is allowed": {"allowDrift": ["Images", "Program"]},
    "items of every JSON type": {
        "items.list": [None, True, 1, 2.5, "text", ["list"], {"key": "k", "deep": {"er": []}}]
    },
    "10,000 items": {"items.list": list(range(10_000))},
    "a matrix": {"items": {"matrix": {"lr": [0.1, 0.01], "model": ["a", {"layers": 3}], "flag": [True, None]}}},
    "items in a ConfigMap": {"items": {"configMapKeyRef": {"name": "items", "key": "items.jsonl"}}},
    "a bucket alone": {"checkpoint.url": "gs://bucket"},
    "S3": {"checkpoint.url": "s3://bucket.with.dots/sweeps"},
    "Azure": {"checkpoint.url": "az://container/sweeps"},
    "an account of Azure": {"checkpoint.url": "abfs://container@account.dfs.core.windows.net/sweeps"},
    "a file in a folder": {"checkpoint.file": "out/results.progress.json"},
    "a file with a leading dot": {"checkpoint.file": ".sweeper"},
    "the shortest interval": {"checkpoint.interval": "1s"},
    "the longest interval": {"checkpoint.interval": "1h"},
    "an interval of two units": {"checkpoint.interval": "1m30s"},
    "no failure at all": {"budgets": {"userFailures": 0, "infrastructure": {"limit": 0}, "unexplained": 0}},
    "a window for reclaims": {"budgets.reclaims": {"limit": 300, "window": "8760h"}},
    "any number without progress": {"budgets.noProgressAttempts": 0},
    "deleted at once, without a trace": {"ttlSecondsAfterFinished": 0, "keepPods": 0},
    "merged without the failed": {"onShardFailure": "Continue"},
    "no patience with nodes": {"reclaim": {"unreachableAfter": "0s", "silentAfter": "15s"}},
    "silence that proves nothing": {"reclaim": {"silentAfter": "0s"}},
    "the longest time to flush": {"checkpoint.flushTimeout": "24h"},
    "what the program writes": {
        "checkpoint.commit": ["orbax", "torch-dcp", "step-*/DONE", "**/_OK"],
        "checkpoint.append": ["logs/**/*.csv", "[ab]?.txt"],
        "checkpoint.progress": "Gmat",
    },
    "items that are not counted": {"checkpoint.progress": "None", "completion": "ExitCode"},
    "items that nobody names or counts": {"checkpoint.progress": "None", "items": ABSENT},
    "completion by what is recorded": {"completion": "Recorded"},
    "completion by exit code": {"completion": "ExitCode"},
    "a history that is kept short": {"checkpoint.keep": {"generations": 1, "after": "24h"}},
    "somebody else to delete it": {
        "checkpoint.keep": {"generations": 1000, "serviceAccountName": "sweeper", "env": [ENV]}
    },
    "environment for the store": {
        "checkpoint.env": [
            {"name": "STORAGE_EMULATOR_HOST", "value": "http://store:4443"},
            ENV,
            {"name": "REGION", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ]
    },
    "a pool": {
        "placement.pools": [
            {
                "name": "spot",
                "nodeSelector": {"cloud.google.com/gke-spot": "true"},
                "tolerations": [{"key": "cloud.google.com/gke-spot", "operator": "Exists", "effect": "NoSchedule"}],
            }
        ]
    },
    "no failure forgiven": {"budgets.userFailures": 0},
    "restartPolicy Never": {"template.spec.restartPolicy": "Never"},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_takes(api: Api, changes: dict[str, Any]) -> None:
    body = sweep(changes)
    stored = create(api, body)
    # What was asked for comes back whole, and the operator can read it.
    assert contains(stored["spec"], body["spec"])
    assert contains(ResumableSweep.model_validate(stored).to_json()["spec"], body["spec"])


def contains(larger: Any, smaller: Any) -> bool:
    if isinstance(smaller, dict) and isinstance(larger, dict):
        return all(name in larger and contains(larger[name], value) for name, value in smaller.items())
    if isinstance(smaller, list) and isinstance(larger, list):
        return len(larger) == len(smaller) and all(map(contains, larger, smaller))
    return bool(larger == smaller) and type(larger) is type(smaller)


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no shards": ({"shards": ABSENT}, ["spec.shards: Required value"]),
    "zero shards": ({"shards": 0}, ["spec.shards: Invalid value: 0", "greater than or equal to 1"]),
    "too many shards": ({"shards": 10_001}, ["spec.shards: Invalid value: 10001", "less than or equal to 10000"]),
    "shards in words": ({"shards": "eight"}, ["spec.shards", '"string"', "integer"]),
    "zero at a time": ({"parallelism": 0}, ["spec.parallelism: Invalid value: 0", "greater than or equal to 1"]),
    "a run to start from that is a bucket": ({"resumeFrom": "gs://bucket"}, ["spec.resumeFrom", "the folder of a run"]),
    "a part that cannot drift": ({"allowDrift": ["Shards"]}, ["spec.allowDrift[0]", '"Shards"', "supported values"]),
    "a run id that is two folders": ({"runId": "a/b"}, ["spec.runId", '"a/b"', "should match"]),
    "a run id that leads up": ({"runId": ".."}, ["spec.runId", '".."', "should match"]),
    "a run id without an end": ({"runId": "x" * 64}, ["spec.runId", "63"]),
    "no way to name the items": ({"items": {}}, ["spec.items", "items has none, but needs exactly one"]),
    "two ways to name the items": ({"items.matrix": {"lr": [1]}}, ["spec.items", "items has list, matrix, but needs"]),
    "an empty list": ({"items.list": []}, ["spec.items.list", "at least 1"]),
    "10,001 items": ({"items.list": list(range(10_001))}, ["spec.items.list", "10000"]),
    "a matrix of no parameters": ({"items": {"matrix": {}}}, ["spec.items.matrix", "at least 1"]),
    "a parameter without values": ({"items": {"matrix": {"lr": []}}}, ["spec.items.matrix.lr", "at least 1"]),
    "a parameter with a bare value": ({"items": {"matrix": {"lr": 0.1}}}, ["spec.items.matrix.lr", "array"]),
    "a ConfigMap without key": ({"items": {"configMapKeyRef": {"name": "n"}}}, ["configMapKeyRef.key: Required"]),
    "a ConfigMap of another namespace": (
        {"items": {"configMapKeyRef": {"name": "../../other/configmaps/items", "key": "k"}}},
        ["spec.items.configMapKeyRef.name", '"../../other/configmaps/items"', "should match"],
    ),
    "no checkpoint": ({"checkpoint": ABSENT}, ["spec.checkpoint: Required value"]),
    "no url": ({"checkpoint.url": ABSENT}, ["spec.checkpoint.url: Required value"]),
    "a store nobody knows": (
        {"checkpoint.url": "hdfs://bucket"},
        ["spec.checkpoint.url", "url is hdfs://bucket and must be gs://BUCKET[/FOLDER], s3://BUCKET[/FOLDER], az://"],
    ),
    "a store that ends with the process": ({"checkpoint.url": "memory://run"}, ["url is memory://run and must be"]),
    "an account of a store that has none": (
        {"checkpoint.url": "s3://bucket@account/a"},
        ["url is s3://bucket@account/a and must be"],
    ),
    "a directory, which no pod could reach": (
        {"checkpoint.url": "file:///mnt/sweeps"},
        ["url is file:///mnt/sweeps and must be"],
    ),
    "a url with a query": ({"checkpoint.url": "gs://bucket/a?b"}, ["url is gs://bucket/a?b and must be"]),
    "a url with a space": ({"checkpoint.url": "gs://bucket/a b"}, ["url is gs://bucket/a b and must be"]),
    "no file": ({"checkpoint.file": ABSENT}, ["spec.checkpoint.file: Required value"]),
    "an absolute file": (
        {"checkpoint.file": "/results"},
        ["spec.checkpoint.file", "file is /results and must be a path inside the snapshot directory"],
    ),
    "a file that leads out": ({"checkpoint.file": "a/../../b"}, ["file is a/../../b and must be"]),
    "a folder": ({"checkpoint.file": "results/"}, ["file is results/ and must be"]),
    "the sidecar's own folder": ({"checkpoint.file": ".sweep/items.jsonl"}, ["outside of .sweep"]),
    "no duration": ({"checkpoint.interval": "ten"}, ["spec.checkpoint.interval", '"ten"', "should match"]),
    "a window too short": (
        {"budgets.infrastructure.window": "9m"},
        ["spec.budgets.infrastructure.window", "window is 9m and must lie between 10m and 8760h"],
    ),
    "reclaims without a limit": ({"budgets.reclaims": {"window": "1h"}}, ["spec.budgets.reclaims.limit", "Required"]),
    "too many at once": (
        {"budgets.infrastructure.limit": 301},
        ["spec.budgets.infrastructure.limit", "301", "less than or equal to 300"],
    ),
    "less than no attempt": (
        {"budgets.noProgressAttempts": -1},
        ["spec.budgets.noProgressAttempts", "-1", "greater than or equal to 0"],
    ),
    "no such way on": ({"onShardFailure": "Ignore"}, ["spec.onShardFailure", '"Ignore"', '"Fail", "Continue"']),
    "gone before it ends": ({"ttlSecondsAfterFinished": -1}, ["spec.ttlSecondsAfterFinished", "-1"]),
    "too many pods kept": ({"keepPods": 101}, ["spec.keepPods", "101", "less than or equal to 100"]),
    "too short": ({"checkpoint.interval": "999ms"}, ["interval is 999ms and must lie between 1s and 1h"]),
    "too long": ({"checkpoint.interval": "61m"}, ["interval is 61m and must lie between 1s and 1h"]),
    "an impatience that pods cannot keep up with": (
        {"reclaim.silentAfter": "14s"},
        ["spec.reclaim.silentAfter", "silentAfter is 14s and must be 0s, for never, or lie between 15s and 1h"],
    ),
    "endless patience": (
        {"reclaim.unreachableAfter": "61m"},
        ["spec.reclaim.unreachableAfter", "unreachableAfter is 61m and must lie between 0s and 1h"],
    ),
    "no time to flush": ({"checkpoint.flushTimeout": "0s"}, ["flushTimeout is 0s and must lie between 1s and 24h"]),
    "a marker elsewhere": (
        {"checkpoint.commit": ["orbax", "../DONE"]},
        ["spec.checkpoint.commit[1]", "pattern ../DONE must be a path inside the snapshot directory"],
    ),
    "an absolute pattern": ({"checkpoint.append": ["/a.csv"]}, ["spec.checkpoint.append[0]", "pattern /a.csv must be"]),
    "a pattern of two lines": ({"checkpoint.append": ["a\nb"]}, ["spec.checkpoint.append[0]", "must be a path"]),
    "a pattern of any folders and a part of a name": (
        {"checkpoint.append": ["a**/b"]},
        ["spec.checkpoint.append[0]", "with ** only as a whole part"],
    ),
    "the sidecar's own files": (
        {"checkpoint.append": [".sweep/*"]},
        ["spec.checkpoint.append[0]", "outside of .sweep"],
    ),
    "a pattern twice": ({"checkpoint.append": ["a", "a"]}, ["spec.checkpoint.append[1]", "Duplicate value"]),
    "a format nobody knows": (
        {"checkpoint.progress": "Csv"},
        ["spec.checkpoint.progress", '"Csv"', '"Auto", "Sweep", "Mime", "Gmat", "None"'],
    ),
    "a completion nobody knows": ({"completion": "Exit"}, ["spec.completion", '"Exit"', '"Recorded", "ExitCode"']),
    "items that are named and never counted": (
        {"checkpoint.progress": "None"},
        ["spec.completion", "no shard would ever be complete", "nothing is recorded; set completion to ExitCode"],
    ),
    "records that never say that they are all": (
        {"checkpoint.progress": "Gmat", "items": ABSENT, "completion": "Recorded"},
        ["spec.completion", "with checkpoint.progress Gmat no record says that it is the last one; name the items"],
    ),
    "a history of nothing": ({"checkpoint.keep": {"generations": 0}}, ["spec.checkpoint.keep.generations", "to 1"]),
    "a history without a length": ({"checkpoint.keep": {}}, ["spec.checkpoint.keep.generations: Required value"]),
    "a history that ends too soon": (
        {"checkpoint.keep": {"generations": 1, "after": "23h59m"}},
        ["spec.checkpoint.keep.after", "after is 23h59m and must lie between 24h and 87600h"],
    ),
    "the operator's variables": (
        {"checkpoint.env": [{"name": "SWEEP_SHARD", "value": "0"}]},
        ["spec.checkpoint.env[0].name", "name is SWEEP_SHARD", "choose another"],
    ),
    "a variable that no shell and no pod can have": (
        {"checkpoint.env": [{"name": "A=B", "value": "0"}]},
        ["spec.checkpoint.env[0].name", '"A=B"', "should match"],
    ),
    "an account that nobody can have": (
        {"checkpoint.keep": {"generations": 1, "serviceAccountName": "Sweeper!"}},
        ["spec.checkpoint.keep.serviceAccountName", '"Sweeper!"', "should match"],
    ),
    "a variable twice": ({"checkpoint.env": [ENV, ENV]}, ["spec.checkpoint.env[1]", "Duplicate value"]),
    "a variable of two minds": (
        {"checkpoint.env": [{**ENV, "value": "v"}]},
        ["spec.checkpoint.env[0]", "variable KEY has both value and valueFrom: remove one of them"],
    ),
    "a source of nothing": (
        {"checkpoint.env": [{"name": "KEY", "valueFrom": {}}]},
        ["spec.checkpoint.env[0].valueFrom", "exactly one of secretKeyRef, configMapKeyRef and fieldRef"],
    ),
    "two pools": ({"placement.pools": [{"name": "a"}, {"name": "b"}]}, ["spec.placement.pools", "at most 1"]),
    "no pool": ({"placement.pools": []}, ["spec.placement.pools", "at least 1"]),
    "an unknown effect": (
        {"placement.pools": [{"name": "a", "tolerations": [{"effect": "Never"}]}]},
        ["effect", '"Never"', '"NoSchedule"'],
    ),
    "negative failures": ({"budgets.userFailures": -1}, ["spec.budgets.userFailures: Invalid value: -1"]),
    "no template": ({"template": ABSENT}, ["spec.template: Required value"]),
    "a template without spec": ({"template": {"metadata": {}}}, ["spec.template.spec: Required value"]),
    "no containers": ({"template": {"spec": {}}}, ["spec.template.spec.containers: Required value"]),
    "a container without image": (
        {"template.spec.containers": [{"name": "a"}]},
        ["spec.template.spec.containers[0].image: Required value"],
    ),
    "pods that restart themselves": (
        {"template.spec.restartPolicy": "OnFailure"},
        ["spec.template.spec.restartPolicy", "restartPolicy is OnFailure and must be Never or absent"],
    ),
    "a field of another version": ({"deadline": "1h"}, ['unknown field "spec.deadline"']),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_refuses(api: Api, changes: dict[str, Any], words: list[str]) -> None:
    said = refusal(api, sweep(changes))
    for word in words:
        assert word in said


def test_a_name_leaves_room_for_shard_and_attempt(api: Api) -> None:
    create(api, sweep(name="n" * MAX_NAME_LENGTH))
    name = "n" * (MAX_NAME_LENGTH + 1)
    said = refusal(api, sweep(name=name))
    assert f"metadata.name is {name} and its pods are named after it: choose a name of 40 characters at most" in said


def test_a_name_is_a_label(api: Api) -> None:
    create(api, sweep(name="a-1"))
    assert "metadata.name is a.1 and must be a DNS label" in refusal(api, sweep(name="a.1"))


FROZEN: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "shards": ({}, {"shards": 9}, ["spec.shards: Invalid value: 9: shards cannot change", "another name"]),
    "url": (
        {},
        {"checkpoint.url": "gs://other"},
        ["spec.checkpoint.url", "url cannot change from gs://bucket/sweeps to gs://other", "another name"],
    ),
    "file": (
        {},
        {"checkpoint.file": "b.jsonl"},
        ["spec.checkpoint.file", "file cannot change from results.jsonl to b.jsonl", "another name"],
    ),
    "the format of what is recorded": (
        {},
        {"checkpoint.progress": "Mime"},
        ["spec.checkpoint.progress", "progress cannot change from Auto to Mime", "another name"],
    ),
    "one of the items": ({}, {"items.list": [1, 2, 4]}, ["spec.items", "items cannot be added, changed or removed"]),
    "the order of the items": ({}, {"items.list": [1, 3, 2]}, ["items cannot be added, changed or removed"]),
    "the items' kind": ({}, {"items": {"matrix": {"a": [1]}}}, ["items cannot be added, changed or removed"]),
    "a value of the matrix": (
        {"items": {"matrix": {"a": [1], "b": [{"c": 1}]}}},
        {"items": {"matrix": {"a": [1], "b": [{"c": 2}]}}},
        ["items cannot be added, changed or removed"],
    ),
    "the items' ConfigMap": (
        {"items": {"configMapKeyRef": {"name": "a", "key": "k"}}},
        {"items": {"configMapKeyRef": {"name": "b", "key": "k"}}},
        ["items cannot be added, changed or removed"],
    ),
    "items that are removed": ({}, {"items": ABSENT}, ["items cannot be added, changed or removed"]),
    "items that are added": ({"items": ABSENT}, {}, ["items cannot be added, changed or removed"]),
    "a run id": ({"runId": "a"}, {"runId": "b"}, ["spec.runId", "runId cannot be added, changed or removed"]),
    "a run to start from": (
        {"resumeFrom": "gs://b/x"},
        {"resumeFrom": "gs://b/y"},
        ["spec.resumeFrom", "resumeFrom cannot be added, changed or removed"],
    ),
    "a run id that is removed": ({"runId": "a"}, {}, ["runId cannot be added, changed or removed"]),
    "a run id that is added": ({}, {"runId": "a"}, ["runId cannot be added, changed or removed"]),
}


@pytest.mark.parametrize(("before", "after", "words"), FROZEN.values(), ids=FROZEN)
def test_freezes(api: Api, before: dict[str, Any], after: dict[str, Any], words: list[str]) -> None:
    stored = create(api, sweep(before))
    path = f"{SWEEPS}/{stored['metadata']['name']}"
    changed = {**stored, "spec": sweep(after)["spec"]}
    with pytest.raises(ApiError) as caught:
        api.request("PUT", path, body=changed)
    assert caught.value.status == 422
    for word in words:
        assert word in str(caught.value)


def test_lets_the_rest_change(api: Api) -> None:
    stored = create(api, sweep({"runId": "a", "items": {"matrix": {"a": [1, None], "b": ["x"]}}}))
    stored["spec"] |= {
        "parallelism": 2,
        "suspend": True,
        "budgets": {
            "userFailures": 9,
            "infrastructure": {"limit": 9, "window": "1h"},
            "reclaims": {"limit": 9, "window": "1h"},
            "noProgressAttempts": 9,
            "unexplained": 9,
        },
        "onShardFailure": "Continue",
        "ttlSecondsAfterFinished": 9,
        "keepPods": 9,
        "placement": {"pools": [{"name": "a"}]},
        "completion": "ExitCode",
        "allowDrift": ["Images"],
    }
    stored["spec"]["checkpoint"] |= {
        "interval": "1m",
        "env": [ENV],
        "flushTimeout": "1m",
        "commit": ["orbax"],
        "append": ["*.csv"],
        "keep": {"generations": 3, "after": "24h"},
    }
    stored["spec"]["template"]["spec"]["containers"][0]["image"] = "digits:2"
    asked = copy.deepcopy(stored["spec"])
    assert api.request("PUT", f"{SWEEPS}/{stored['metadata']['name']}", body=stored)["spec"] == asked


def test_fills_in_what_was_left_out(api: Api) -> None:
    stored = create(api, sweep())
    assert stored["spec"]["suspend"] is False
    assert stored["spec"]["budgets"] == {
        "userFailures": 3,
        "infrastructure": {"limit": 100, "window": "24h"},
        "noProgressAttempts": 5,
        "unexplained": 5,
    }
    assert (stored["spec"]["onShardFailure"], stored["spec"]["keepPods"]) == ("Fail", 5)
    assert stored["spec"]["checkpoint"]["interval"] == "10s"
    # Absent means as many as there are shards, and the sweep's own uid: neither is written down.
    assert not {"parallelism", "runId"} & stored["spec"].keys()
    assert "status" not in stored
    # The models fill in the same.
    read = ResumableSweep.model_validate(sweep()).to_json()["spec"]
    assert read == ResumableSweep.model_validate(stored).to_json()["spec"]


def test_keeps_the_template_as_it_was_written(api: Api) -> None:
    template = {
        "metadata": {"labels": {"team": "a"}},
        "spec": {
            "containers": [
                {
                    "name": "a",
                    "image": "b",
                    "resources": {"limits": {"nvidia.com/gpu": 1}},
                    "aFieldOfTomorrow": {"x": [1]},
                }
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }
    assert create(api, sweep({"template": template}))["spec"]["template"] == template


def test_takes_a_full_status_and_keeps_every_field(api: Api) -> None:
    name = create(api, sweep())["metadata"]["name"]
    moment = "2026-11-22T07:20:49Z"
    status = ResumableSweepStatus.model_validate(
        {
            "phase": Phase.RUNNING,
            "observedGeneration": 1,
            "runId": "r",
            "items": ItemsStatus(total=60, sha256="0" * 64),
            "total": 60,
            "done": 12,
            "running": 3,
            "reclaims": 2,
            "lost": 0,
            "eta": "3m20s",
            "startTime": moment,
            "completionTime": moment,
            "retentionTime": moment,
            "retried": "3,5-7",
            "reclaimsLastHour": 2,
            "recentReclaims": [{"begin": moment, "count": 2}],
            "avoidedNodes": [{"name": "a", "reason": "PodRejected", "until": moment}],
            "attempts": 8,
            "merged": Merged(url="gs://b/m", sha256="1" * 64, items=60, provenance_url="gs://b/p"),
            "shards": Shards(complete="0-57,60", running="58", waiting="59", failed="61"),
            "lastReclaim": Reclaim.model_validate(
                {
                    "time": moment,
                    "node": "spot-1",
                    "shard": 3,
                    "attempt": 7,
                    "signal": "NodeGone",
                    "itemsSafe": 4,
                    "relaunchSeconds": 0.25,
                }
            ),
            "reclaimsBySignal": {"NodeGone": 2},
            "images": {"r/main:1": ["sha256:a", "loaded-sha256:b"]},
            "shardTable": "3:7:0",
            "nodes": ["a", "b"],
            "conditions": [
                Condition.model_validate(
                    {
                        "type": "Complete",
                        "status": "False",
                        "reason": "Running",
                        "message": "12 of 60 items are done.",
                        "lastTransitionTime": moment,
                        "observedGeneration": 1,
                    }
                )
            ],
        }
    ).to_json()
    # Every field of the models is in the test, and every one of them survives the API server's pruning.
    assert {field.alias or name for name, field in ResumableSweepStatus.model_fields.items()} == status.keys()
    stored = api.get(f"{SWEEPS}/{name}")
    written = api.request("PUT", f"{SWEEPS}/{name}/status?fieldValidation=Strict", body={**stored, "status": status})
    assert written["status"] == status
    assert ResumableSweepStatus.model_validate(written["status"]).to_json() == status


def test_refuses_a_phase_nobody_knows(api: Api) -> None:
    name = create(api, sweep())["metadata"]["name"]
    with pytest.raises(ApiError, match=r'status\.phase: Unsupported value: "Dancing"'):
        api.patch(f"{SWEEPS}/{name}/status", {"status": {"phase": "Dancing"}})


def test_status_and_spec_are_written_apart(api: Api) -> None:
    name = create(api, {**sweep(), "status": {"done": 99}})["metadata"]["name"]
    assert "status" not in api.get(f"{SWEEPS}/{name}")
    api.patch(f"{SWEEPS}/{name}/status", {"spec": {"parallelism": 5}, "status": {"done": 1}})
    stored = api.get(f"{SWEEPS}/{name}")
    assert stored["status"] == {"done": 1}
    assert "parallelism" not in stored["spec"]


def test_a_status_of_ten_thousand_shards_fits(api: Api) -> None:
    name = create(api, sweep({"shards": 10_000}))["metadata"]["name"]
    table = "3:7:0;" * 40_000
    assert (
        len(api.patch(f"{SWEEPS}/{name}/status", {"status": {"shardTable": table}})["status"]["shardTable"]) == 240_000
    )


def test_kubectl_shows_how_far_a_sweep_is(control_plane: ControlPlane, api: Api) -> None:
    name = create(api, sweep())["metadata"]["name"]
    status = {"phase": "Running", "done": 5, "total": 9, "running": 2, "reclaims": 1, "lost": 0, "eta": "3m20s"}
    more = {
        "attempts": 4,
        "runId": "r",
        "shards": {"complete": "0-3"},
        "reclaimsLastHour": 1,
        "lastReclaim": {"signal": "NodeGone", **RECLAIM},
    }
    api.patch(f"{SWEEPS}/{name}/status", {"status": status | more})
    kubectl = binaries(["kubectl"], report=keep_quiet)["kubectl"]

    def shown(*options: str) -> list[list[str]]:
        words = [kubectl, "--kubeconfig", control_plane.kubeconfig, "get", "rsweep", name, *options]
        return [line.split() for line in run(words).splitlines()]

    head, row = shown()
    assert head == ["NAME", "PHASE", "DONE", "TOTAL", "RUNNING", "RECLAIMS", "LOST", "ETA", "AGE"]
    assert row[:-1] == [name, "Running", "5", "9", "2", "1", "0", "3m20s"]
    head, row = shown("-o", "wide")
    assert head[9:] == ["COMPLETE", "ATTEMPTS", "LAST-HOUR", "LAST-SIGNAL", "RUN-ID"]
    assert row[9:] == ["0-3", "4", "1", "NodeGone", "r"]
