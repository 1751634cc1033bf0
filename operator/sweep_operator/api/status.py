"""What the operator reports: the `status` of a ResumableSweep."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from sweep_operator.api.model import ApiModel, Time

Count = Annotated[int, Field(ge=0)]


class Phase(StrEnum):
    """Where a sweep stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    MERGING = "Merging"
    COMPLETE = "Complete"
    FAILED = "Failed"


class ItemsStatus(ApiModel):
    """The items as they were resolved at the start."""

    total: Count
    """How many there are."""
    sha256: str
    """Digest of the run's items.jsonl; every attempt checks it."""


class Merged(ApiModel):
    """The results, merged from all shards."""

    url: str
    """Where they are: JSON Lines, one `{key, result}` for each item, in the order of the items."""
    sha256: str
    """Digest of that file."""
    items: Count
    """How many lines it has."""
    provenance_url: str | None = None
    """Where to read which attempt on which host made each of them, and when."""


class Shards(ApiModel):
    """Which shards stand where: each field a list of index ranges such as `0-57,60`."""

    complete: str | None = None
    """All their items are done, with proof in the store."""
    running: str | None = None
    """They have a pod."""
    waiting: str | None = None
    """They have none yet, or none at the moment."""
    failed: str | None = None
    """They have used up their budget."""


class Reclaim(ApiModel):
    """A reclaim: a pod lost for reasons outside of the program."""

    time: Time
    """When the operator knew of it."""
    node: str | None = None
    """Name of the node."""
    shard: Count
    """The shard whose pod it was."""
    attempt: Count
    """The attempt that was lost."""
    signal: str
    """By what it was recognised."""
    items_safe: Count | None = None
    """Items of the shard that were in the store."""
    relaunch_seconds: Annotated[float, Field(ge=0)] | None = None
    """Seconds from the reclaim to the replacement's creation; absent as long as there is none."""


class ReclaimCount(ApiModel):
    """Reclaims within five minutes."""

    begin: Time
    """When the five minutes began."""
    count: Count
    """How many there were."""


class AvoidedNode(ApiModel):
    """A node that new pods are kept away from, as far as there are others."""

    name: str
    """Its name."""
    reason: str
    """Why: the signal of a pod that it refused or could not keep, or the cloud's notice that it goes."""
    until: Time
    """Until when."""


class Condition(ApiModel):
    """One aspect of the sweep (meta/v1 Condition)."""

    # Limits and patterns are those of metav1.Condition, so that every tool that reads conditions reads these.
    type: Annotated[str, StringConstraints(max_length=316, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$")]
    """Which aspect, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_]*)$")]
    """Why, as one word in CamelCase."""
    message: Annotated[str, StringConstraints(max_length=32_768)] = ""
    """Why, as a sentence."""
    last_transition_time: Time
    """When `status` changed last."""
    observed_generation: Count | None = None
    """The metadata.generation that this is about."""


class ResumableSweepStatus(ApiModel):
    """How far the sweep has come, and what happened to it. Written by the operator alone."""

    model_config = ConfigDict(validate_assignment=True)

    phase: Phase | None = None
    """Pending: nothing runs yet. Running: shards are being run. Suspended: stopped by `spec.suspend`. Merging: all
    shards are complete and their results are being put together. Complete: merged. Failed: see the conditions."""
    observed_generation: Count | None = None
    """The metadata.generation that this status is about."""
    run_id: str | None = None
    """Name of this run in the store."""
    items: ItemsStatus | None = None
    """The items as they were resolved at the start; absent where the program alone knows them."""
    total: Count | None = None
    """How many items there are, as far as known."""
    done: Count | None = None
    """How many items are recorded in the store."""
    running: Count | None = None
    """How many pods are running."""
    reclaims: Count | None = None
    """How many pods were lost for reasons outside of the program."""
    reclaims_last_hour: Count | None = None
    """How many of them were in the last hour, give or take five minutes."""
    lost: Count | None = None
    """How many items were recorded in a pod that was lost before they reached the store; they run again."""
    eta: str | None = None
    """How long it will take at the present rate, such as `3m20s`."""
    start_time: Time | None = None
    """When the first attempt was started."""
    completion_time: Time | None = None
    """When the sweep was complete, or had failed."""
    retention_time: Time | None = None
    """When retention (`checkpoint.keep`) ended last, in whatever way."""
    attempts: Count | None = None
    """The highest attempt number given out so far; numbers are never used twice."""
    merged: Merged | None = None
    """The results, once the sweep is complete."""
    shards: Shards | None = None
    """Which shards stand where."""
    last_reclaim: Reclaim | None = None
    """The latest reclaim."""
    reclaims_by_signal: dict[str, Count] | None = None
    """How many reclaims were recognised by what."""
    recent_reclaims: (
        Annotated[list[ReclaimCount], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] | None
    ) = None
    """The reclaims of the last hour, by five minutes."""
    images: dict[str, list[str]] | None = None
    """What attempts have run, by the image's name in the template: its digest when the first attempt ran it, and those
    that `spec.allowDrift` has let in. `loaded-` marks the digest of an image that was not pulled from a registry."""
    retried: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """The value of the annotation `resumable.dev/retry` that was last acted upon."""
    avoided_nodes: (
        Annotated[
            list[AvoidedNode],
            Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
        ]
        | None
    ) = None
    """The nodes that new pods are kept away from for a while, at most 20."""
    shard_table: str | None = None
    """The operator's own memory of each shard, in a form of its own."""
    nodes: Annotated[list[str], Field(json_schema_extra={"x-kubernetes-list-type": "atomic"})] | None = None
    """The nodes that the operator's memory refers to: name and a hash of the UID. Absent where the memory is packed."""
    conditions: (
        Annotated[
            list[Condition],
            Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
        ]
        | None
    ) = None
    """The sweep's aspects, for `kubectl wait` and for people."""
