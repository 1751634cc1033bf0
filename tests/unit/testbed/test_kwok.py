from __future__ import annotations

import yaml

from rig.kwok import deleting_stage, ending_stage, node_manifest, running_stage

SAID = '{"reason": "It\'s done", "shard": {{ $.metadata.labels.shard }}}'


def test_words_come_out_as_they_were_given() -> None:
    stage = running_stage("running", labels={"role": "attempt"}, init=SAID)
    template = stage["spec"]["next"]["statusTemplate"]
    line = next(line for line in template.splitlines() if "exitCode" in line)
    # What Go would fill in stands in no quotes of YAML's, but for the words themselves.
    filled = line.replace("{{ $now | Quote }}", '"now"')
    assert yaml.safe_load(filled)["state"]["terminated"]["message"] == SAID


def test_a_stage_is_for_pods_with_its_labels_that_nobody_has_deleted() -> None:
    stage = ending_stage("done", labels={"role": "merge"}, phase="Pending", after_s=1.5, main=SAID)
    selector = stage["spec"]["selector"]
    assert selector["matchLabels"] == {"role": "merge"}
    assert {each["key"]: each.get("values") for each in selector["matchExpressions"]} == {
        ".metadata.deletionTimestamp": None,
        ".status.phase": ["Pending"],
    }
    assert stage["spec"]["delay"] == {"durationMilliseconds": 1500}


def test_a_deleted_pod_is_gone_whatever_it_is() -> None:
    spec = deleting_stage()["spec"]
    assert spec["next"] == {"delete": True}
    assert "matchLabels" not in spec["selector"]


def test_a_node_has_room_for_its_pods() -> None:
    node = node_manifest("node-1", pods=150)
    assert node["status"]["allocatable"]["pods"] == node["status"]["capacity"]["pods"] == "150"
