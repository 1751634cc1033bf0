"""What must survive a restart of the operator, shard by shard, in one compact string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sweep_operator.model.signals import Signal


class ShardState(StrEnum):
    """Where a shard stands; the letter is what the table holds."""

    WAITING = "W"
    """No attempt is under way: one will be made when there is room."""
    ACTIVE = "A"
    """The current attempt's pod exists or is being made."""
    LEAVING = "L"
    """The current attempt is being reclaimed, and may still flush what it has."""
    STOPPING = "S"
    """The operator itself ends the current attempt: suspended, or parallelism was lowered."""
    COMPLETE = "C"
    FAILED = "F"


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard's memory.

    `attempt` is the number of its latest attempt, 0 before the first, and `node` (`name/uid`) where that was placed.
    `signal` is why the latest ended attempt ended, seen at `since` (Unix seconds). `done` counts durable items,
    `recorded` the items last seen recorded, durable or not, and `base` is one more than the items that the current
    attempt has restored, 0 while that is not known. `setbacks` counts attempts in a row that ended without a new item
    through no fault of the experiment, `user_failures` all failures of its own. `not_before` (Unix seconds) delays the
    next attempt.
    """

    shard: int
    state: ShardState = ShardState.WAITING
    attempt: int = 0
    signal: Signal = Signal.NONE
    since: float = 0.0
    done: int = 0
    recorded: int = 0
    base: int = 0
    setbacks: int = 0
    user_failures: int = 0
    not_before: int = 0
    node: str = ""

    @property
    def node_name(self) -> str:
        """Name of the node the latest attempt ran on, empty before it was placed."""
        return self.node.partition("/")[0]

    @property
    def node_uid(self) -> str:
        """UID of that node."""
        return self.node.partition("/")[2]

    def changed(self, **fields: object) -> ShardRecord:
        """Return the record with some of its fields changed."""
        return replace(self, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ShardTable:
    """The records of all shards, as the status holds them.

    `text` has one row a shard, joined by `;`, with the fields `state+attempt`, signal (its place in the enumeration),
    since, done, recorded, base, setbacks, user failures, not before and node (its place in `nodes`), joined by `,` and
    cut after the last one that differs from its default.
    """

    text: str = ""
    nodes: tuple[str, ...] = ()


# By place, to keep the table short: new signals go to the end of the enumeration, none is ever removed.
_SIGNALS = list(Signal)


def table_of(records: Sequence[ShardRecord]) -> ShardTable:
    """Return the table that holds `records`, which are all of a sweep's shards in order."""
    nodes: dict[str, int] = {}
    rows = []
    for record in records:
        node = nodes.setdefault(record.node, len(nodes) + 1) if record.node else 0
        numbers: list[float] = [
            _SIGNALS.index(record.signal),
            round(record.since, 1),
            record.done,
            record.recorded,
            record.base,
            record.setbacks,
            record.user_failures,
            record.not_before,
            node,
        ]
        while numbers and numbers[-1] == 0:
            numbers.pop()
        attempt = str(record.attempt) if record.attempt else ""
        rows.append(
            ",".join([record.state.value + attempt, *(f"{number:.12g}" if number else "" for number in numbers)])
        )
    return ShardTable(text=";".join(rows), nodes=tuple(nodes))


def records_of(table: ShardTable, *, shards: int) -> list[ShardRecord]:
    """Return the records of a table; shards that it does not hold are new.

    Raises
    ------
    ValueError
        Where the table is not one: status is written by the operator alone, so somebody else has edited it.
    """
    records = []
    rows = table.text.split(";") if table.text else []
    for shard, row in enumerate(rows):
        head, *rest = row.split(",")
        signal, since, *counts = [*rest, *[""] * (9 - len(rest))]
        done, recorded, base, setbacks, user_failures, not_before, node = (int(count or 0) for count in counts)
        records.append(
            ShardRecord(
                shard=shard,
                state=ShardState(head[:1]),
                attempt=int(head[1:] or 0),
                signal=_SIGNALS[int(signal or 0)],
                since=float(since or 0),
                done=done,
                recorded=recorded,
                base=base,
                setbacks=setbacks,
                user_failures=user_failures,
                not_before=not_before,
                node=table.nodes[node - 1] if node else "",
            )
        )
    if len(records) > shards:
        raise ValueError(f"status.shardTable has {len(records)} rows, the sweep has {shards} shards")
    records += [ShardRecord(shard=shard) for shard in range(len(records), shards)]
    return records


def index_ranges(indices: Sequence[int]) -> str:
    """Return ascending indices as ranges, for example `0-57,60`."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
