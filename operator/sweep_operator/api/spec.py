"""What a user asks for: the `spec` of a ResumableSweep.

Descriptions are read by users: they become the text of `kubectl explain` and of the API reference.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from sweep_operator.api.checkpoint import BUCKETS, Checkpoint, Duration
from sweep_operator.api.env_var import ConfigMapKey
from sweep_operator.api.model import ApiModel
from sweep_operator.api.pod_template import PodTemplate
from sweep_operator.api.rule import Rule, between, checked_by, immutable, immutable_or_absent

MAX_SHARDS = 10_000
MAX_INLINE_ITEMS = 10_000

AnyValues = Annotated[list[Any], Field(min_length=1, max_length=MAX_INLINE_ITEMS)]


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


_Window = Annotated[Duration, Field(json_schema_extra=checked_by(between("window", "10m", "8760h")))]


class InfrastructureBudget(ApiModel):
    """How often the platform may fail a shard."""

    limit: Annotated[int, Field(ge=0, le=300)] = 100
    """So many failures may come at once."""
    window: _Window = "24h"
    """How long it takes until all of them have come back, one after the other; 10m to 8760h."""


class ReclaimBudget(ApiModel):
    """How often a shard may be reclaimed."""

    limit: Annotated[int, Field(ge=0, le=300)]
    """So many reclaims may come at once."""
    window: _Window = "24h"
    """How long it takes until all of them have come back, one after the other; 10m to 8760h."""


class Budgets(ApiModel):
    """How much may go wrong in one shard before it is given up: it has failed then, until the sweep's annotation
    `resumable.dev/retry` names it. May change while the sweep runs."""

    user_failures: Annotated[int, Field(ge=0, le=1000)] = 3
    """How often the program of one shard may fail by itself (exit code other than 0, out of memory) and be run again,
    with growing pauses."""
    infrastructure: InfrastructureBudget = InfrastructureBudget()
    """How often the platform may fail a shard: a pod that a node refuses, evicts for want of memory or disk, or cannot
    start; a store that cannot be reached. Each failure comes back after a while, `limit` of them in a `window`."""
    reclaims: ReclaimBudget | None = None
    """How often a shard may be reclaimed, as for `infrastructure`. Absent: as often as it takes."""
    no_progress_attempts: Annotated[int, Field(ge=0, le=1000)] = 5
    """How many attempts of a shard in a row may be reclaimed, or failed by the platform, that ran and stored nothing
    new: items that take longer than the machines last are never done. New is one item more; where nobody counts the
    items, one generation more. 0: any number."""
    unexplained: Annotated[int, Field(ge=0, le=1000)] = 5
    """How often in a row, without a new item in between, a shard may end in a way that tells nobody whose fault it was:
    killed (exit code 137 or 143) by nobody knows whom, or with exit code 0 before its items were proved to be done."""


class Reclaiming(ApiModel):
    """When a machine counts as lost of which nobody says that it is gone."""

    unreachable_after: Annotated[
        Duration, Field(json_schema_extra=checked_by(between("unreachableAfter", "0s", "1h")))
    ] = "60s"
    """How long Kubernetes may call a node `Unknown`, which it does 40 to 50 s after the node's last word, before the
    shards on it are run elsewhere; at most 1h. Should the machine go on, it can store nothing any more."""
    silent_after: Annotated[
        Duration,
        Field(
            json_schema_extra=checked_by(
                Rule(
                    check="duration(self) == duration('0s') || "
                    "(duration(self) >= duration('15s') && duration(self) <= duration('1h'))",
                    static="silentAfter must be 0s, or lie between 15s and 1h",
                    message="'silentAfter is ' + self + ' and must be 0s, for never, or lie between 15s and 1h: pods "
                    "report every 10s only'",
                )
            )
        ),
    ] = "25s"
    """How long a pod may report nothing, while its node's Lease is not renewed either, before its shard is run
    elsewhere without waiting for Kubernetes' word; 15s to 1h. A false alarm costs a pod that is made for nothing, and
    doubles the time for that shard. 0s: Kubernetes' word is always waited for."""


_NEVER_COMPLETE = (
    "(self.checkpoint.progress == 'None' && "
    "(has(self.completion) ? self.completion == 'Recorded' : has(self.items))) || "
    "(self.checkpoint.progress in ['Mime', 'Gmat'] && !has(self.items) && has(self.completion) && "
    "self.completion == 'Recorded')"
)


class ResumableSweepSpec(ApiModel):
    """What is to be run, on what, and where its results are kept."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            immutable_or_absent(name="items", why="shards that are relaunched would get other items"),
            immutable_or_absent(name="runId", why="what is recorded so far is kept under it"),
            immutable_or_absent(name="resumeFrom", why="shards that are relaunched would start from elsewhere"),
            Rule(
                check=f"!({_NEVER_COMPLETE})",
                static="no shard would ever be complete: with checkpoint.progress None nothing is recorded, and with "
                "Mime or Gmat no record says that it is the last one; name the items, or set completion to ExitCode",
                message="'no shard would ever be complete: with checkpoint.progress ' + self.checkpoint.progress + "
                "(self.checkpoint.progress == 'None' ? ' nothing is recorded; set completion to ExitCode' : "
                "' no record says that it is the last one; name the items, or set completion to ExitCode')",
                field=".completion",
            ),
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
                        check=f"self.matches('^{BUCKETS}(/[^?#[:space:]/]+)+$')",
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
    completion: Literal["Recorded", "ExitCode"] | None = None
    """When a shard is complete. Recorded: once the records in the store say so, never by an exit code. ExitCode: also
    where every container has exited with 0 by itself, whatever is recorded. Absent: ExitCode where neither `items` nor
    a log of the library's says which items there are, else Recorded. Applies to pods that are started after a
    change."""
    allow_drift: Annotated[
        list[Literal["Images", "Program", "CheckpointFile", "Items", "All"]],
        Field(max_length=5, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = Field(default_factory=list)
    """What may differ from what the results so far were made with. A shard whose template has other images, or whose
    container runs another image under the same name (`Images`), or whose template has another command, environment or
    volumes (`Program`), is not run, unless this says that old and new results may stand side by side. `CheckpointFile`
    and `Items` can differ only where `runId` names an earlier sweep's run. May change while the sweep runs."""
    placement: Placement | None = None
    """Where the pods run; absent: wherever the template allows."""
    budgets: Budgets = Budgets()
    """How much may go wrong in one shard before it is given up."""
    on_shard_failure: Literal["Fail", "Continue"] = "Fail"
    """What a failed shard means for the sweep; the other shards always run to their end. Fail: the sweep has failed,
    and nothing is merged. Continue: what there is is merged, the failed shards' records too, and the sweep is complete;
    its condition names the failed shards and how many items are missing. May change while the sweep runs."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = None
    """How many seconds after its end the sweep is deleted, with its pods; what is in the store stays. Absent: never.
    Where `checkpoint.keep` is given, retention goes before. May change at any time."""
    keep_pods: Annotated[int, Field(ge=0, le=100)] = 5
    """How many failed pods are kept for a look at their logs, the newest ones; all others are deleted at their end."""
    reclaim: Reclaiming = Reclaiming()
    """When a machine counts as lost of which nobody says that it is gone. May change while the sweep runs."""
    template: PodTemplate
    """The pod that runs a shard. Changes apply to pods that are started after them."""

    @property
    def images_may_drift(self) -> bool:
        """Whether results of other images may stand beside those so far."""
        return not {"Images", "All"}.isdisjoint(self.allow_drift)
