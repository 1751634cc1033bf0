from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from builders import UID, manifest, record

from sweep_operator.model.observed import Role
from sweep_operator.model.shard_record import ShardState
from sweep_operator.pods.housekeeping_pod import housekeeping_pod_for, items_config_map
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.translation import sweep_of

SETTINGS = PodSettings(sidecar_image="sidecar:1")


def built(role: Role, **spec: Any) -> dict[str, Any]:
    return housekeeping_pod_for(sweep_of(manifest(**spec)), role, settings=SETTINGS)


@pytest.mark.parametrize("items", [{"list": [1, "ü"]}, {"matrix": {"lr": [0.1], "seed": [0, 1]}}])
def test_inline_items_travel_in_an_immutable_config_map(items: dict[str, Any]) -> None:
    sweep = sweep_of(manifest(items=items))
    config_map = items_config_map(sweep)
    assert config_map is not None
    assert config_map["immutable"] is True
    assert json.loads(config_map["data"]["items.json"]) == items
    assert config_map["metadata"]["ownerReferences"][0]["uid"] == UID
    pod = built(Role.RESOLVE, items=items)
    (volume,) = pod["spec"]["volumes"]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    assert pod["spec"]["containers"][0]["args"] == ["resolve", "--items", "/sweep/items/items.json"]
    assert pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] == "/sweep/items"


def test_items_in_a_config_map_are_read_from_there() -> None:
    items = {"configMapKeyRef": {"name": "grid", "key": "points.jsonl"}}
    assert items_config_map(sweep_of(manifest(items=items))) is None
    pod = built(Role.RESOLVE, items=items)
    assert pod["spec"]["volumes"][0]["configMap"]["name"] == "grid"
    assert pod["spec"]["containers"][0]["args"] == ["resolve", "--items", "/sweep/items/points.jsonl"]


def test_no_items_no_config_map() -> None:
    assert items_config_map(sweep_of(manifest())) is None


def test_merging_needs_only_the_store() -> None:
    checkpoint = {"url": "gs://b", "file": "r.jsonl", "env": [{"name": "TOKEN", "value": "t"}]}
    container = built(Role.MERGE, checkpoint=checkpoint)["spec"]["containers"][0]
    env = {each["name"]: each["value"] for each in container["env"]}
    assert container["args"] == ["merge"]
    assert env == {
        "SWEEP_STORE_URL": f"gs://b/ns/lr/{UID}",
        "SWEEP_NAMESPACE": "ns",
        "SWEEP_NAME": "lr",
        "SWEEP_RUN_ID": UID,
        "SWEEP_SHARDS": "2",
        "SWEEP_ITEMS_SHA256": "",
        "TOKEN": "t",
    }


def test_a_merge_has_a_place_for_its_tables_though_all_else_is_read_only() -> None:
    spec = built(Role.MERGE)["spec"]
    (volume,) = spec["volumes"]
    assert volume["emptyDir"] == {"sizeLimit": "50Gi"}
    assert spec["containers"][0]["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_it_is_small_and_goes_to_any_node_under_the_sweep_s_account() -> None:
    template = {
        "spec": {
            "serviceAccountName": "experimenter",
            "imagePullSecrets": [{"name": "registry"}],
            "nodeSelector": {"gpu": "yes"},
            "securityContext": {"runAsUser": 1000, "fsGroup": 7},
            "containers": [{"name": "main", "image": "m", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
        }
    }
    spec = built(Role.MERGE, template=template)["spec"]
    assert spec["serviceAccountName"] == "experimenter"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["securityContext"] == {"fsGroup": 7}
    assert not spec.keys() & {"nodeSelector", "tolerations"}
    assert "nvidia.com/gpu" not in json.dumps(spec)
    assert spec["containers"][0]["securityContext"]["runAsUser"] == 1000
    assert spec["restartPolicy"] == "OnFailure"


def test_the_older_name_of_the_account_counts_where_the_newer_one_is_empty() -> None:
    containers = [{"name": "main", "image": "m"}]
    older = {"spec": {"serviceAccount": "experimenter", "containers": containers}}
    assert built(Role.MERGE, template=older)["spec"]["serviceAccountName"] == "experimenter"
    both = {"spec": {**older["spec"], "serviceAccountName": "newer"}}
    assert built(Role.MERGE, template=both)["spec"]["serviceAccountName"] == "newer"


def test_what_it_does_not_need_of_a_template_does_not_matter() -> None:
    main = {"name": "main", "image": "main:1", "env": 7, "volumeMounts": "none", "lifecycle": []}
    odd = {"metadata": "none", "spec": {"containers": [main], "nodeSelector": 7, "initContainers": {}}}
    assert built(Role.MERGE, template=odd)["spec"] == built(Role.MERGE)["spec"]


def test_its_name_is_the_same_every_time() -> None:
    assert built(Role.MERGE)["metadata"]["name"] == built(Role.MERGE)["metadata"]["name"]
    assert built(Role.MERGE)["metadata"]["name"] != built(Role.RESOLVE, items={"list": [1]})["metadata"]["name"]


def retaining(**keep: Any) -> dict[str, Any]:
    env = [{"name": "TOKEN", "value": "t"}]
    checkpoint = {"url": "gs://b", "file": "r.jsonl", "env": env, "keep": {"generations": 3, **keep}}
    template = {"spec": {"serviceAccountName": "may-write", "containers": [{"name": "main", "image": "main:1"}]}}
    pod: dict[str, Any] = built(Role.RETAIN, checkpoint=checkpoint, template=template)["spec"]
    return pod


def test_what_deletes_knows_what_to_keep_and_tries_once() -> None:
    pod = retaining(after="36h")
    assert pod["containers"][0]["args"] == ["retain", "--generations", "3", "--after", "129600"]
    assert pod["restartPolicy"] == "Never"
    assert pod["serviceAccountName"] == "may-write"
    assert {"name": "TOKEN", "value": "t"} in pod["containers"][0]["env"]


def test_what_deletes_may_be_somebody_else() -> None:
    pod = retaining(serviceAccountName="may-delete", env=[{"name": "TOKEN", "value": "d"}])
    assert pod["serviceAccountName"] == "may-delete"
    assert {"name": "TOKEN", "value": "d"} in pod["containers"][0]["env"]
    assert {"name": "TOKEN", "value": "t"} not in pod["containers"][0]["env"]
    assert {"name": "TOKEN", "value": "d"} not in retaining(env=[])["containers"][0]["env"]


def test_shards_that_have_failed_are_merged_as_far_as_they_came() -> None:
    of = sweep_of(manifest())
    records = (record(0, ShardState.FAILED), record(1, ShardState.COMPLETE))
    failed = replace(of, status=replace(of.status, records=records))
    pod = housekeeping_pod_for(failed, Role.MERGE, settings=SETTINGS)
    assert pod["spec"]["containers"][0]["args"] == ["merge", "--partial"]
