"""What a user asks for: the `spec` of a ResumableSweep.

Descriptions are read by users: they become the text of `kubectl explain` and of the API reference.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from sweep_operator.api import duration
from sweep_operator.api.model import ApiModel
from sweep_operator.api.pod_template import PodTemplate
from sweep_operator.api.rule import Rule, checked_by, immutable, immutable_or_absent

MAX_SHARDS = 10_000
MAX_INLINE_ITEMS = 10_000

# Kubernetes' own limits: names are DNS subdomains of 253 characters, keys of ConfigMaps and Secrets have as many.
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
DataKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
AnyValues = Annotated[list[Any], Field(min_length=1, max_length=MAX_INLINE_ITEMS)]


class ConfigMapKey(ApiModel):
    """A key of a ConfigMap in the sweep's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: DataKey
    """Key in its data."""


# CEL knows no field that holds, or is a container of, values of any type. What is `dyn` it looks up only when it runs.
_GIVEN = {
    "list": "has(dyn(self).list)",
    "matrix": "has(dyn(self).matrix)",
    "configMapKeyRef": "has(self.configMapKeyRef)",
}
_ONE_IS_GIVEN = f"[{', '.join(_GIVEN.values())}].filter(given, given).size() == 1"
_NONE_IS_GIVEN = f"!({' || '.join(_GIVEN.values())})"
_THOSE_GIVEN = " + ".join(f"({given} ? '{name}, ' : '')" for name, given in _GIVEN.items())


class Items(ApiModel):
    """The pieces of work, named in exactly one way: by `list`, `matrix` or `configMapKeyRef`."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                check=_ONE_IS_GIVEN,
                static="items needs exactly one of list, matrix and configMapKeyRef",
                message=(
                    f"'items has ' + ({_NONE_IS_GIVEN} ? 'none, ' : '') + {_THOSE_GIVEN} + "
                    "'but needs exactly one of list, matrix and configMapKeyRef: "
                    "name the items in one way, or leave items out where the program itself knows them'"
                ),
            )
        )
    )

    list_: AnyValues | None = Field(default=None, alias="list")
    """The items one by one, each any JSON value. An item's key is its field `key` where it has one, else the item
    itself as canonical JSON; no two may be the same."""
    matrix: Annotated[dict[str, AnyValues], Field(min_length=1, max_length=64)] | None = None
    """Parameters and their values: one item for every combination. Parameters are taken in alphabetical order, the
    last one varying fastest."""
    config_map_key_ref: ConfigMapKey | None = None
    """A key of a ConfigMap whose text is JSON Lines (one item a line), a JSON list of items, or a JSON object with one
    of the fields `list` and `matrix`. Read once, at the start."""

    @model_validator(mode="after")
    def _are_named_in_one_way(self) -> Self:
        given = [name for name in ("list", "matrix", "configMapKeyRef") if name in self.to_json()]
        if len(given) != 1:
            raise ValueError(
                f"items has {', '.join(given) or 'none'}, but needs exactly one of list, matrix and configMapKeyRef: "
                "name the items in one way, or leave items out where the program itself knows them"
            )
        return self


class SecretKey(ApiModel):
    """A key of a Secret in the sweep's namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: DataKey
    """Key in its data."""
    optional: bool | None = None
    """Whether the variable may be left out where Secret or key are missing."""


class OptionalConfigMapKey(ConfigMapKey):
    """A key of a ConfigMap in the sweep's namespace."""

    optional: bool | None = None
    """Whether the variable may be left out where ConfigMap or key are missing."""


class FieldRef(ApiModel):
    """A field of the pod itself."""

    field_path: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Path of the field, for example `metadata.namespace`."""
    api_version: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Version of the schema the path is written in; v1 where absent."""


class EnvVarSource(ApiModel):
    """Where a variable's value comes from."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                check="[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)]"
                ".filter(given, given).size() == 1",
                static="valueFrom needs exactly one of secretKeyRef, configMapKeyRef and fieldRef",
            )
        )
    )

    secret_key_ref: SecretKey | None = None
    """A key of a Secret."""
    config_map_key_ref: OptionalConfigMapKey | None = None
    """A key of a ConfigMap."""
    field_ref: FieldRef | None = None
    """A field of the pod."""


class EnvVar(ApiModel):
    """An environment variable (core/v1 EnvVar)."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                check="!(has(self.value) && has(self.valueFrom))",
                static="value and valueFrom cannot both be given: remove one of them",
                message="'variable ' + self.name + ' has both value and valueFrom: remove one of them'",
            ),
            Rule(
                check="!self.name.startsWith('SWEEP_')",
                static="name may not start with SWEEP_, such names belong to the operator: choose another one",
                message="'name is ' + self.name + ' and may not start with SWEEP_, such names belong to the operator: "
                "choose another one'",
                field=".name",
            ),
        )
    )

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=32_768)] | None = None
    """Its value."""
    value_from: EnvVarSource | None = None
    """Where its value comes from."""


_URLS = (
    "gs://BUCKET[/FOLDER], s3://BUCKET[/FOLDER], az://CONTAINER[/FOLDER] or "
    "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net[/FOLDER]"
)

_BUCKETS = "((gs|s3)://[a-z0-9][-_.a-z0-9]*|(az|abfs)://[a-z0-9][-a-z0-9]*(@[a-z0-9][-.a-z0-9]*)?)"


class Checkpoint(ApiModel):
    """Where the sweep keeps what it must not lose."""

    url: Annotated[
        str,
        StringConstraints(min_length=6, max_length=1024),
        Field(
            json_schema_extra=checked_by(
                Rule(
                    check=f"self.matches('^{_BUCKETS}(/[^?#[:space:]]*)?$')",
                    static=f"url must be {_URLS}",
                    message=f"'url is ' + self + ' and must be {_URLS}'",
                ),
                immutable(name="url", why="what is recorded so far is there", shown=True),
            )
        ),
    ]
    """Folder of the object store: `gs://BUCKET/FOLDER` (Google Cloud Storage), `s3://BUCKET/FOLDER` (Amazon S3 and
    others of its protocol), `az://CONTAINER/FOLDER` or `abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER` (Azure
    Blob Storage). The sweep writes below it into a folder of its own: namespace,
    name, run id. Cannot change."""
    file: Annotated[
        str,
        StringConstraints(min_length=1, max_length=255),
        Field(
            json_schema_extra=checked_by(
                Rule(
                    check="!self.split('/').exists(part, part in ['', '.', '..']) && !self.startsWith('.sweep/')",
                    static="file must be a path inside the snapshot directory, outside of .sweep",
                    message="'file is ' + self + ' and must be a path inside the snapshot directory, such as "
                    "results.jsonl: relative, without . and .. as a part, outside of .sweep'",
                ),
                immutable(name="file", why="a relaunched program would look for its results elsewhere", shown=True),
            )
        ),
    ]
    """The program's checkpoint: path relative to the snapshot directory (`SWEEP_SNAPSHOT_DIR`). A relaunched pod
    finds it restored, and named by `SWEEP_RESUME_FROM`. All other files in that directory are kept as well.
    Cannot change."""
    interval: Annotated[
        str,
        StringConstraints(max_length=32, pattern=duration.PATTERN),
        Field(
            json_schema_extra=checked_by(
                Rule(
                    check="duration(self) >= duration('1s') && duration(self) <= duration('1h')",
                    static="interval must lie between 1s and 1h",
                    message="'interval is ' + self + ' and must lie between 1s and 1h'",
                )
            )
        ),
    ] = "10s"
    """How often the sidecar looks for something new to store, between 1s and 1h. Where nothing changed nothing is
    written. A sudden loss of a node costs at most the work of so long."""
    env: Annotated[
        list[EnvVar],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = Field(default_factory=list)
    """Environment of the containers that read and write the store (credentials, endpoints). The experiment's own
    containers do not get it. Workload identity needs none of it."""


class Toleration(ApiModel):
    """A taint that the pods tolerate (core/v1 Toleration)."""

    key: Annotated[str, StringConstraints(max_length=317)] | None = None
    """Key of the taint; absent with operator Exists: every key."""
    operator: Literal["Equal", "Exists"] | None = None
    """How key and value are compared; Equal where absent."""
    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; absent: every effect."""
    toleration_seconds: int | None = None
    """For how many seconds a NoExecute taint is tolerated; absent: for ever."""


class Pool(ApiModel):
    """A kind of nodes."""

    name: Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """What you call it."""
    node_selector: (
        Annotated[dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=32)] | None
    ) = None
    """Labels that a node of this pool has; added to the template's own."""
    tolerations: (
        Annotated[list[Toleration], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "atomic"})] | None
    ) = None
    """Taints of this pool that the pods tolerate; added to the template's own."""


class Placement(ApiModel):
    """Where the pods run."""

    pools: Annotated[
        list[Pool],
        Field(
            min_length=1,
            max_length=1,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """The pool to run on."""


class Budgets(ApiModel):
    """How much may go wrong. Reclaimed nodes cost nothing of it: a shard is run again as often as it takes."""

    user_failures: Annotated[int, Field(ge=0, le=1000)] = 3
    """How often the program of one shard may fail by itself (exit code other than 0, out of memory) and be run again,
    with growing pauses. One failure more and the shard, and with it the sweep, has failed."""


class ResumableSweepSpec(ApiModel):
    """What is to be run, on what, and where its results are kept."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            immutable_or_absent(name="items", why="shards that are relaunched would get other items"),
            immutable_or_absent(name="runId", why="what is recorded so far is kept under it"),
            immutable_or_absent(name="resumeFrom", why="shards that are relaunched would start from elsewhere"),
        )
    )

    shards: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_SHARDS,
            json_schema_extra=checked_by(
                immutable(name="shards", why="items would move from one checkpoint to another", shown=False)
            ),
        ),
    ]
    """Over how many pods the items are split: item k belongs to shard k modulo shards. Cannot change."""
    parallelism: Annotated[int, Field(ge=1, le=MAX_SHARDS)] | None = None
    """How many shards run at most at a time; as many as there are where absent. May change while the sweep runs."""
    suspend: bool = False
    """Whether to stop all pods, once they have stored what they have, and to start none until this is false again."""
    run_id: Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$")] | (
        None
    ) = None
    """Name of this run in the store, the sweep's metadata.uid where absent. Give the run id of an earlier sweep of the
    same namespace and name to go on where that one ended. Cannot change."""
    resume_from: (
        Annotated[
            str,
            StringConstraints(min_length=8, max_length=1400),
            Field(
                json_schema_extra=checked_by(
                    Rule(
                        check=f"self.matches('^{_BUCKETS}(/[^?#[:space:]/]+)+$')",
                        static="resumeFrom must be the folder of a run: a URL as in checkpoint.url, with the run id at "
                        "its end",
                        message="'resumeFrom is ' + self + ' and must be the folder of a run: a URL as in "
                        "checkpoint.url, with the run id at its end'",
                    )
                )
            ),
        ]
        | None
    ) = None
    """Another run to start from: its folder in a store that the same credentials may read, such as
    `gs://BUCKET/FOLDER/NAMESPACE/NAME/RUN_ID`. It must have as many shards. Each shard that has stored nothing of its
    own begins with the newest checkpoint of the shard of the same number; the other run is only read. Cannot change."""
    items: Items | None = None
    """The pieces of work; absent where the program itself knows them. Cannot change."""
    checkpoint: Checkpoint
    """Where the sweep keeps what it must not lose."""
    allow_drift: Annotated[
        list[Literal["Images", "Program", "CheckpointFile", "Items", "All"]],
        Field(max_length=5, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = Field(default_factory=list)
    """What may differ from what the results so far were made with. A shard whose template has other images (`Images`),
    or another command, environment or volumes (`Program`), is not run, unless this says that old and new results may
    stand side by side. `CheckpointFile` and `Items` can differ only where `runId` names an earlier sweep's run. May
    change while the sweep runs."""
    placement: Placement | None = None
    """Where the pods run; absent: wherever the template allows."""
    budgets: Budgets = Budgets()
    """How much may go wrong."""
    template: PodTemplate
    """The pod that runs a shard. Changes apply to pods that are started after them."""
