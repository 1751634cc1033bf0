from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
from builders import UID, manifest

from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.model.snapshot import Sweep
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.settings import PodSettings
from sweep_operator.pods.template import TemplateInvalid, template_of
from sweep_operator.runtime.translation import sweep_of

SETTINGS = PodSettings(sidecar_image="sidecar:1", report_url="http://operator:8080")
STOP = "/stopping/secret"
RESTORE, MIRROR = 0, 1


def built(
    *,
    shard: int = 0,
    attempt: int = 1,
    resumes: bool = False,
    template: dict[str, Any] | None = None,
    of: Sweep | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """The pod of an attempt; `spec` holds fields of the sweep's."""
    sweep = of or sweep_of(manifest(template=template, **spec))
    return pod_for(
        sweep, CreateAttempt(shard=shard, attempt=attempt, resumes=resumes), settings=SETTINGS, stop_path=STOP
    )


def main(pod: dict[str, Any], place: int = 0) -> dict[str, Any]:
    container: dict[str, Any] = pod["spec"]["containers"][place]
    return container


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def template(*, pod: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "main", "image": "main:1", **container}], **(pod or {})}}


def test_name_and_labels_say_whose_pod_it_is() -> None:
    metadata = built(shard=1, attempt=7)["metadata"]
    assert metadata["name"].startswith("lr-")
    assert metadata["name"].endswith("-1-7")
    assert metadata["labels"] == {
        "resumable.dev/sweep": "lr",
        "resumable.dev/sweep-uid": UID,
        "resumable.dev/role": "attempt",
        "resumable.dev/shard": "1",
        "resumable.dev/attempt": "7",
        "resumable.dev/rank": "0",
    }


def test_a_sweep_of_the_same_name_has_other_pods() -> None:
    other = manifest()
    other["metadata"]["uid"] = "another"
    assert built()["metadata"]["name"] != built(of=sweep_of(other))["metadata"]["name"]


def test_the_sweep_owns_the_pod_without_being_held_up_by_it() -> None:
    (owner,) = built()["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (UID, True)
    assert "blockOwnerDeletion" not in owner


def test_labels_and_annotations_of_the_template_stay_unless_they_are_ours() -> None:
    metadata = {
        "labels": {"team": "a", "resumable.dev/shard": "99"},
        "annotations": {"x": "y", "karpenter.sh/do-not-disrupt": "false"},
    }
    pod = built(template={**template(), "metadata": metadata})
    assert pod["metadata"]["labels"]["team"] == "a"
    assert pod["metadata"]["labels"]["resumable.dev/shard"] == "0"
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "false"
    assert pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_the_template_itself_is_left_alone() -> None:
    sweep = sweep_of(manifest())
    before = copy.deepcopy(sweep.manifest)
    built(of=sweep)
    assert sweep.manifest == before


def test_the_experiment_gets_the_contract() -> None:
    env = variables(main(built(shard=1, attempt=7)))
    assert env == {
        "SWEEP_NAME": "lr",
        "SWEEP_NAMESPACE": "ns",
        "SWEEP_RUN_ID": UID,
        "SWEEP_SHARD": "1",
        "SWEEP_SHARDS": "2",
        "SWEEP_ATTEMPT": "7",
        "SWEEP_SNAPSHOT_DIR": "/sweep/snapshot",
        "MADDENING_SNAPSHOT_DIR": "/sweep/snapshot",
        "SWEEP_NOTICE_FILE": "/sweep/snapshot/.sweep/notice.json",
    }


def test_items_are_named_where_the_specification_has_them() -> None:
    env = variables(main(built(items={"list": [1, 2]})))
    assert env["SWEEP_ITEMS"] == "/sweep/snapshot/.sweep/items.jsonl"


def test_a_relaunch_is_told_what_to_go_on_from_under_both_names() -> None:
    env = variables(main(built(resumes=True)))
    assert env["SWEEP_RESUME_FROM"] == "file:///sweep/snapshot/results.jsonl"
    assert env["RESUME_FROM_URL"] == env["SWEEP_RESUME_FROM"]


def test_ours_come_first_and_win_over_the_template_s() -> None:
    theirs = [{"name": "LR", "value": "$(SWEEP_SHARD)"}, {"name": "SWEEP_SHARD", "value": "99"}]
    container = main(built(template=template(env=theirs)))
    names = [each["name"] for each in container["env"]]
    assert names.count("SWEEP_SHARD") == 1
    assert variables(container)["SWEEP_SHARD"] == "0"
    assert names.index("SWEEP_SHARD") < names.index("LR"), "$(SWEEP_SHARD) is only known to what comes after it"


def test_every_container_of_the_template_gets_environment_and_snapshot() -> None:
    pod = built(
        template={
            "spec": {
                "containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}],
                "initContainers": [{"name": "prepare", "image": "c"}],
            }
        }
    )
    theirs = [*pod["spec"]["containers"], pod["spec"]["initContainers"][2]]
    for container in theirs:
        assert variables(container)["SWEEP_SHARD"] == "0"
        assert {"name": "sweep-snapshot", "mountPath": "/sweep/snapshot"} in container["volumeMounts"]


def test_restore_and_mirror_come_before_the_template_s_init_containers() -> None:
    pod = built(template=template(pod={"initContainers": [{"name": "prepare", "image": "c"}]}))
    names = [container["name"] for container in pod["spec"]["initContainers"]]
    assert names == ["sweep-restore", "sweep-mirror", "prepare"]
    assert pod["spec"]["initContainers"][MIRROR]["restartPolicy"] == "Always"
    assert "restartPolicy" not in pod["spec"]["initContainers"][RESTORE]


def test_the_sidecar_alone_knows_the_store() -> None:
    credentials = {"name": "STORAGE_EMULATOR_HOST", "value": "http://gcs"}
    checkpoint = {"url": "gs://bucket/sweeps/", "file": "results.jsonl", "env": [credentials], "interval": "3s"}
    pod = built(checkpoint=checkpoint)
    for place in (RESTORE, MIRROR):
        env = variables(pod["spec"]["initContainers"][place])
        assert env["SWEEP_STORE_URL"] == f"gs://bucket/sweeps/ns/lr/{UID}"
        assert env["SWEEP_CHECKPOINT_FILE"] == "results.jsonl"
        assert float(env["SWEEP_INTERVAL"]) == 3
        assert env["SWEEP_STOP_PATH"] == STOP
        assert env["SWEEP_REPORT_URL"] == "http://operator:8080"
        assert env["SWEEP_METADATA_URL"] == "http://169.254.169.254"
        assert env["SWEEP_IMAGES"] == "main:1"
        assert (env["SWEEP_ALLOW_DRIFT"], env["SWEEP_START_FROM"]) == ("", "")
        assert env["SWEEP_ITEMS_SHA256"] == ""
        assert env["SWEEP_POD_UID"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
        assert env["SWEEP_SHARD"] == "0"
        assert env["STORAGE_EMULATOR_HOST"] == "http://gcs"
    assert not variables(main(pod)).keys() & {"STORAGE_EMULATOR_HOST", "SWEEP_STORE_URL", "SWEEP_STOP_PATH"}


def test_only_the_sidecar_has_the_token_that_speaks_for_the_pod() -> None:
    pod = built()
    (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "sweep-token"]
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert token["audience"] == TOKEN_AUDIENCE
    mounted = [
        container["name"]
        for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])
        if any(mount["name"] == "sweep-token" for mount in container["volumeMounts"])
    ]
    assert mounted == ["sweep-restore", "sweep-mirror"]


def test_volumes_of_the_template_stay() -> None:
    data = {"name": "data", "emptyDir": {}}
    mount = {"name": "data", "mountPath": "/data"}
    pod = built(template=template(pod={"volumes": [data]}, volumeMounts=[mount]))
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["data", "sweep-snapshot", "sweep-token"]
    assert mount in main(pod)["volumeMounts"]


def test_the_stop_hook_is_injected() -> None:
    lifecycle = {"postStart": {"exec": {"command": ["warm-up"]}}}
    container = main(built(template=template(lifecycle=lifecycle)))
    assert container["lifecycle"] == {**lifecycle, "preStop": {"httpGet": {"path": STOP, "port": 9810}}}


def test_a_hook_of_the_user_s_own_stays_and_proves_nothing() -> None:
    own = {"preStop": {"exec": {"command": ["save"]}}}
    two = {
        "spec": {
            "containers": [{"name": "a", "image": "a", "lifecycle": own}, {"name": "b", "image": "b"}],
        }
    }
    pod = built(template=two)
    assert main(pod)["lifecycle"] == own
    assert "lifecycle" not in main(pod, 1), "half a proof is none"
    assert variables(pod["spec"]["initContainers"][MIRROR])["SWEEP_STOP_PATH"] == ""


@pytest.mark.parametrize(
    ("pod", "container", "user", "group"),
    [
        ({}, {"runAsUser": 1000, "runAsGroup": 2000}, 1000, 2000),
        ({"runAsUser": 1000, "runAsGroup": 2000}, {}, 1000, 2000),
        ({"runAsUser": 1000}, {"runAsUser": 1001}, 1001, None),
        ({}, {"runAsUser": 0}, 0, None),
        ({"runAsUser": 1000, "runAsGroup": 2000}, {"runAsUser": None, "runAsGroup": None}, 1000, 2000),
    ],
    ids=["from the container", "from the pod", "the container's wins", "root", "null is as good as absent"],
)
def test_the_sidecar_runs_as_the_experiment_does(pod: Any, container: Any, user: int, group: int | None) -> None:
    made = built(template=template(pod={"securityContext": pod}, securityContext=container))
    for sidecar in made["spec"]["initContainers"][:2]:
        context = sidecar["securityContext"]
        assert context["runAsUser"] == user
        assert context.get("runAsGroup") == group
        assert context["runAsNonRoot"] is (user != 0)
        assert variables(sidecar)["SWEEP_SHARED_BY_GROUP"] == ""
    assert "fsGroup" not in (made["spec"].get("securityContext") or {})


def test_a_common_group_helps_where_nobody_says_who_runs() -> None:
    made = built()
    assert made["spec"]["securityContext"] == {"fsGroup": 65532}
    assert made["spec"]["initContainers"][MIRROR]["securityContext"]["runAsUser"] == 65532
    for sidecar in made["spec"]["initContainers"][:2]:
        assert variables(sidecar)["SWEEP_SHARED_BY_GROUP"] == "1"
    own = built(template=template(pod={"securityContext": {"fsGroup": 7}}))
    assert own["spec"]["securityContext"] == {"fsGroup": 7}
    null = built(template=template(pod={"securityContext": {"fsGroup": None}}))
    assert null["spec"]["securityContext"] == {"fsGroup": 65532}


def test_the_sidecar_satisfies_restricted_pod_security() -> None:
    context = built()["spec"]["initContainers"][MIRROR]["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_pod_runs_once_and_has_time_to_flush() -> None:
    spec = built()["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Never", 300)
    assert (
        built(template=template(pod={"terminationGracePeriodSeconds": 20}))["spec"]["terminationGracePeriodSeconds"]
        == 20
    )


def test_the_time_to_flush_is_the_specification_s_unless_the_template_names_one() -> None:
    checkpoint = {"url": "gs://b", "file": "r", "flushTimeout": "1m30.5s"}
    asked = built(checkpoint=checkpoint)["spec"]
    assert asked["terminationGracePeriodSeconds"] == 91, "whole seconds, and no less than was asked for"
    assert variables(asked["initContainers"][MIRROR])["SWEEP_FLUSH_TIMEOUT"] == "91"
    own = built(checkpoint=checkpoint, template=template(pod={"terminationGracePeriodSeconds": 20}))["spec"]
    assert own["terminationGracePeriodSeconds"] == 20
    assert variables(own["initContainers"][MIRROR])["SWEEP_FLUSH_TIMEOUT"] == "20"


def test_what_the_program_writes_is_told_to_the_sidecar_alone() -> None:
    checkpoint = {
        "url": "gs://b",
        "file": "r",
        "commit": ["orbax", "step-*/DONE"],
        "append": ["**/*.csv"],
        "progress": "Gmat",
    }
    pod = built(checkpoint=checkpoint, completion="ExitCode")["spec"]
    env = variables(pod["initContainers"][MIRROR])
    assert (env["SWEEP_COMMIT"], env["SWEEP_APPEND"]) == ("orbax\nstep-*/DONE", "**/*.csv")
    assert (env["SWEEP_PROGRESS"], env["SWEEP_COMPLETION"]) == ("Gmat", "ExitCode")
    names = {"SWEEP_COMMIT", "SWEEP_APPEND", "SWEEP_PROGRESS", "SWEEP_COMPLETION", "SWEEP_FLUSH_TIMEOUT"}
    assert not names & variables(pod["containers"][0]).keys()


def test_the_pool_places_the_pod_and_spot_and_gpu_taints_are_tolerated() -> None:
    own = {"key": "team", "operator": "Exists"}
    pool = {"name": "spot", "nodeSelector": {"pool": "spot"}, "tolerations": [{"key": "pool", "operator": "Exists"}]}
    spec = built(
        template=template(pod={"nodeSelector": {"zone": "a", "pool": "x"}, "tolerations": [own]}),
        placement={"pools": [pool]},
    )["spec"]
    assert spec["nodeSelector"] == {"zone": "a", "pool": "spot"}
    keys = [toleration["key"] for toleration in spec["tolerations"]]
    assert keys[:2] == ["team", "pool"]
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"} <= set(keys)
    assert "nodeSelector" not in built()["spec"]


def test_empty_fields_are_as_good_as_absent_ones() -> None:
    empty = dict.fromkeys(("env", "volumeMounts", "lifecycle", "securityContext"))
    of_pod = dict.fromkeys(
        ("initContainers", "volumes", "tolerations", "nodeSelector", "securityContext", "terminationGracePeriodSeconds")
    )
    bare = built()
    made = built(
        template={**template(pod=of_pod, **empty), "metadata": {"labels": None, "annotations": None}},
    )
    assert made["spec"]["terminationGracePeriodSeconds"] == 300
    assert made["metadata"]["labels"] == bare["metadata"]["labels"]
    assert main(made)["env"] == main(bare)["env"]


MISSHAPEN: dict[str, tuple[dict[str, Any], str]] = {
    "a container that is a word": (
        {"spec": {"containers": ["main:1"]}},
        'spec.template.spec.containers[0] is "main:1" and must be an object',
    ),
    "a variable that is a number": (template(env=[1]), "containers[0].env[0] is 1 and must be an object"),
    "a variable that is nothing": (template(env=[None]), "containers[0].env[0] is null and must be an object"),
    "a context that is a word": (
        template(pod={"securityContext": "root"}),
        'spec.template.spec.securityContext is "root" and must be an object',
    ),
    "a label that is a number": (
        {**template(), "metadata": {"labels": {"a": 1}}},
        "spec.template.metadata.labels.a is 1 and must be a text",
    ),
    "a grace in words": (
        template(pod={"terminationGracePeriodSeconds": "1m"}),
        'terminationGracePeriodSeconds is "1m" and must be a whole number',
    ),
    "a quantity that is empty": (
        template(resources={"requests": {"cpu": ""}}),
        'spec.template.spec.containers[0].resources.requests.cpu is "" and must be a quantity',
    ),
    "a quantity in words": (template(resources={"limits": {"memory": "much"}}), 'limits.memory is "much" and must be'),
    "a long one": (
        template(pod={"volumes": "x" * 99}),
        f'spec.template.spec.volumes is "{"x" * 63}... and must be a list',
    ),
    "a container that starts itself again": (
        template(restartPolicy="OnFailure"),
        'spec.template.spec.containers[0].restartPolicy is "OnFailure" and must be Never or absent',
    ),
    "a container that has rules for it": (
        template(restartPolicy="Never", restartPolicyRules=[{"action": "Restart"}]),
        'spec.template.spec.containers[0].restartPolicyRules is [{"action": "Restart"}] and must be absent',
    ),
    "a selector that is true": (
        template(pod={"nodeSelector": {"gpu": True}}),
        "spec.template.spec.nodeSelector.gpu is true and must be a text",
    ),
}


@pytest.mark.parametrize(("broken", "said"), MISSHAPEN.values(), ids=MISSHAPEN)
def test_a_template_that_is_none_is_refused_by_its_field(broken: dict[str, Any], said: str) -> None:
    with pytest.raises(TemplateInvalid, match=re.escape(said)):
        built(template=broken)


def test_init_containers_may_start_again_by_themselves() -> None:
    sidecar = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
    never = template(pod={"initContainers": [sidecar]}, restartPolicy="Never", restartPolicyRules=[])
    assert built(template=never)["spec"]["initContainers"][-1]["restartPolicy"] == "Always"


@pytest.mark.parametrize("quantity", [1, 0.5, "1", "500m", "2Gi", "1e3", "12E", "-1", ".5"])
def test_quantities_are_left_to_the_api_server(quantity: Any) -> None:
    resources = {"limits": {"memory": quantity}}
    assert main(built(template=template(resources=resources)))["resources"] == resources


def test_what_a_chart_leaves_behind_as_null_counts_as_absent() -> None:
    nulls = dict.fromkeys(("nodeSelector", "tolerations", "volumes", "initContainers", "securityContext", "affinity"))
    with_nulls = template(pod={**nulls, "terminationGracePeriodSeconds": None}, env=None, volumeMounts=None)
    with_nulls["metadata"] = None
    assert built(template=with_nulls)["spec"]["containers"] == built(template=template())["spec"]["containers"]


def test_attempts_of_one_template_share_its_digest() -> None:
    def digest(pod: dict[str, Any]) -> str:
        return str(pod["metadata"]["annotations"]["resumable.dev/template-sha256"])

    assert digest(built(attempt=1)) == digest(built(attempt=2))
    assert digest(built()) != digest(built(template=template(image="main:2")))


def program_of(pod: dict[str, Any]) -> Any:
    return variables(pod["spec"]["initContainers"][RESTORE])["SWEEP_PROGRAM_SHA256"]


@pytest.mark.parametrize(
    "changed",
    [
        template(command=["python", "other.py"]),
        template(args=["--lr", "1"]),
        template(env=[{"name": "LR", "value": "1"}]),
        template(volumeMounts=[{"name": "data", "mountPath": "/data"}]),
        template(pod={"volumes": [{"name": "data", "emptyDir": {}}]}),
        template(pod={"initContainers": [{"name": "fetch", "image": "fetch:1"}]}),
    ],
    ids=["command", "arguments", "environment", "mounts", "volumes", "init container"],
)
def test_what_decides_the_results_makes_another_program(changed: dict[str, Any]) -> None:
    assert program_of(built(template=changed)) != program_of(built())


@pytest.mark.parametrize(
    "changed",
    [
        template(resources={"limits": {"memory": "8Gi"}}),
        template(image="main:2"),
        template(pod={"nodeSelector": {"pool": "large"}, "priorityClassName": "high"}),
        {**template(), "metadata": {"labels": {"team": "a"}}},
        template(env=[], command=None),
    ],
    ids=["memory", "image, which is told apart", "placement", "labels", "empty fields"],
)
def test_where_it_runs_and_on_how_much_does_not(changed: dict[str, Any]) -> None:
    assert program_of(built(template=changed)) == program_of(built())
    assert program_of(built(shard=1, attempt=7, resumes=True)) == program_of(built())


def test_an_image_that_is_now_named_by_its_digest_is_told_by_its_old_name() -> None:
    digest = "sha256:" + "a" * 64
    for named, told in ((f"r/main@{digest}", "r/main:1"), ("r/main:2", "r/main:2")):
        of = sweep_of(manifest(template=template(image=named)))
        of = replace(of, status=replace(of.status, images={"r/main:1": (digest,)}))
        pod = built(of=of)["spec"]
        assert variables(pod["initContainers"][RESTORE])["SWEEP_IMAGES"] == told
        assert pod["containers"][0]["image"] == named


def test_what_may_drift_is_told_to_the_sidecar() -> None:
    env = variables(built(allowDrift=["Images", "Program"])["spec"]["initContainers"][RESTORE])
    assert env["SWEEP_ALLOW_DRIFT"] == "Images,Program"


def test_the_run_to_start_from_is_told_to_the_sidecar() -> None:
    url = "gs://other/ns/lr/run-1"
    containers = built(resumeFrom=url)["spec"]
    assert variables(containers["initContainers"][RESTORE])["SWEEP_START_FROM"] == url
    assert "SWEEP_START_FROM" not in variables(containers["containers"][0])


def test_thousands_of_pods_are_made_of_one_template_and_leave_it_as_it_is() -> None:
    own = template(
        pod={
            "initContainers": [{"name": "fetch", "image": "fetch:1", "env": [{"name": "A", "value": "1"}]}],
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "mine", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}},
            "securityContext": {"runAsNonRoot": True},
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
        env=[{"name": "B", "value": "2"}],
        lifecycle={"postStart": {"exec": {"command": ["true"]}}},
    )
    of = sweep_of(manifest(template=own, placement={"pools": [{"name": "p", "nodeSelector": {"spot": "true"}}]}))
    before = copy.deepcopy(of.manifest)
    shared = template_of(of, settings=SETTINGS)
    orders = [CreateAttempt(shard=n, attempt=n + 1, resumes=bool(n), avoid=("bad",)[:n]) for n in (0, 1, 0)]
    made = [pod_for(of, order, settings=SETTINGS, stop_path=STOP, template=shared) for order in orders]
    assert of.manifest == before
    assert made == [pod_for(of, order, settings=SETTINGS, stop_path=STOP) for order in orders]
    assert made[0] == made[2]
