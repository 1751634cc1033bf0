"""Where a sweep keeps what it must not lose, and what its program writes: `spec.checkpoint`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sweep_operator.api import duration
from sweep_operator.api.env_var import EnvVar, ObjectName
from sweep_operator.api.model import ApiModel
from sweep_operator.api.rule import Rule, between, checked_by, immutable

_URLS = (
    "gs://BUCKET[/FOLDER], s3://BUCKET[/FOLDER], az://CONTAINER[/FOLDER] or "
    "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net[/FOLDER]"
)

BUCKETS = "((gs|s3)://[a-z0-9][-_.a-z0-9]*|(az|abfs)://[a-z0-9][-a-z0-9]*(@[a-z0-9][-.a-z0-9]*)?)"


_INSIDE = "!self.split('/').exists(part, part in ['', '.', '..']) && !self.startsWith('.sweep/')"

Glob = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    Field(
        json_schema_extra=checked_by(
            Rule(
                check=f"{_INSIDE} && self.matches('^[^[:cntrl:]]*$') && "
                "!self.split('/').exists(part, part.contains('**') && part != '**')",
                static="a pattern must be a path inside the snapshot directory, with ** only as a whole part of it",
                message="'pattern ' + self + ' must be a path inside the snapshot directory, such as "
                "checkpoints/**/DONE: relative, without . and .. as a part, outside of .sweep, with ** only as a whole "
                "part'",
            )
        )
    ),
]
"""Paths below the snapshot directory: `*`, `?` and `[...]` match within a name, `**` any number of folders."""


Duration = Annotated[str, StringConstraints(max_length=32, pattern=duration.PATTERN)]
Environment = Annotated[
    list[EnvVar],
    Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
]


class Keep(ApiModel):
    """What of a run's history is kept in the store; all else of it is deleted."""

    generations: Annotated[int, Field(ge=1, le=1000)]
    """How many checkpoints of each shard are kept at least, the newest ones that are whole."""
    after: Annotated[Duration, Field(json_schema_extra=checked_by(between("after", "24h", "87600h")))] = "168h"
    """How old, by the store's own clock, what is no part of them must be before it is deleted; 24h or more. An attempt
    that was cut off from the store for longer sends again what it refers to."""
    service_account_name: ObjectName | None = None
    """ServiceAccount of the pod that deletes, the template's where absent: so that no pod that runs an experiment needs
    the right to delete."""
    env: Environment | None = None
    """Environment of that pod (credentials, endpoints), `checkpoint.env` where absent."""


class Checkpoint(ApiModel):
    """Where the sweep keeps what it must not lose."""

    url: Annotated[
        str,
        StringConstraints(min_length=6, max_length=1024),
        Field(
            json_schema_extra=checked_by(
                Rule(
                    check=f"self.matches('^{BUCKETS}(/[^?#[:space:]]*)?$')",
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
                    check=_INSIDE,
                    static="file must be a path inside the snapshot directory, outside of .sweep",
                    message="'file is ' + self + ' and must be a path inside the snapshot directory, such as "
                    "results.jsonl: relative, without . and .. as a part, outside of .sweep'",
                ),
                immutable(name="file", why="a relaunched program would look for its results elsewhere", shown=True),
            )
        ),
    ]
    """The program's checkpoint: path of a file or folder, relative to the snapshot directory (`SWEEP_SNAPSHOT_DIR`).
    A relaunched pod finds it restored, and named by `SWEEP_RESUME_FROM`. All other files in that directory are kept as
    well. Cannot change."""
    interval: Annotated[Duration, Field(json_schema_extra=checked_by(between("interval", "1s", "1h")))] = "10s"
    """How often the sidecar looks for something new to store, between 1s and 1h. Where nothing changed nothing is
    written. A sudden loss of a node costs at most the work of so long."""
    flush_timeout: Annotated[Duration, Field(json_schema_extra=checked_by(between("flushTimeout", "1s", "24h")))] = (
        "300s"
    )
    """How long a pod that has to go may take to end and to store what it has: the `terminationGracePeriodSeconds` of a
    template that names none. A reclaimed node may leave less."""
    commit: Annotated[list[Glob], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})] = Field(
        default_factory=list
    )
    """Checkpoints that are directories: patterns of the file by whose presence the directory around it is whole, such
    as `checkpoints/*/DONE`; or the name of a format whose marker is known, `orbax` or `torch-dcp`. Without its marker
    such a directory is not stored, and what was stored before stays."""
    append: Annotated[list[Glob], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"})] = Field(
        default_factory=list
    )
    """Patterns of files that only grow, by whole lines, besides `*.jsonl`: of them only what was added is read and
    sent."""
    progress: Annotated[
        Literal["Auto", "Sweep", "Mime", "Gmat", "None"],
        Field(
            json_schema_extra=checked_by(
                immutable(name="progress", why="items are recorded as they were counted so far", shown=True)
            )
        ),
    ] = "Auto"
    """In which format the program records its items. Sweep: the log of this project's library. Mime: the progress file
    of mime-engine. Gmat: the `manifest.jsonl` of gmat-sweep. Auto: the first two, told by their content. None: files
    are stored, and no items counted. Cannot change."""
    env: Environment = Field(default_factory=list)
    """Environment of the containers that read and write the store (credentials, endpoints). The experiment's own
    containers do not get it. Workload identity needs none of it."""
    keep: Keep | None = None
    """How much of the run's history is kept; absent: all of it, nothing is ever deleted."""
