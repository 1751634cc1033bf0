"""What must survive a restart of the operator, shard by shard, in one compact string."""

from __future__ import annotations

import base64
import lzma
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from resumable_sweep.contract.report import NoticeKind
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


HIGHEST_NUMBER = 2**31 - 1
"""No sweep comes to a shard or an attempt beyond it."""

UNDER_WAY = (ShardState.ACTIVE, ShardState.LEAVING, ShardState.STOPPING)
"""The states in which the current attempt has a pod, or is to get one."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard's memory.

    `attempt` is the number of its latest attempt, 0 before the first, and `node` (`name/incarnation`) where that ran.
    `signal` is why the latest ended attempt ended, seen at `since` (Unix seconds). `done` counts durable items,
    `recorded` the items last seen recorded, durable or not, and `base` is one more than the items that the current
    attempt has restored, 0 while that is not known. `setbacks` counts attempts in a row that ended without a new item
    through no fault of the experiment, `user_failures` all failures of its own. `not_before` (Unix seconds) delays the
    next attempt.

    `notice` is what the cloud has announced to the attempt's machine, noted at `noticed_at`, and `deadline` when the
    machine goes (all Unix seconds). A hard notice that was withdrawn stays, with a deadline of 0: the program may have
    ended for its sake. `heir` is the attempt that was made ahead of time to take over from this one, 0 where there is
    none, and `heir_ended` tells that nothing is expected of it any more, and that no other is made.

    `silenced` is the attempt that was last presumed dead because nothing was heard of it, 0 where there is none, and
    `false_alarms` counts those that were not.

    What the budgets remember: `infrastructure_until` and `reclaims_until` are when all that was spent of them will
    have come back (Unix seconds, 0 where nothing is spent), `unexplained` counts the ends in a row of which nobody
    knows whose fault they were, and `barren` the attempts in a row, the current one included, of which nothing new is
    stored. `generation` is the newest one in the store of a shard whose items nobody counts.
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
    notice: NoticeKind = NoticeKind.NONE
    noticed_at: float = 0.0
    deadline: int = 0
    heir: int = 0
    heir_ended: bool = False
    silenced: int = 0
    false_alarms: int = 0
    infrastructure_until: float = 0.0
    reclaims_until: float = 0.0
    unexplained: int = 0
    barren: int = 0
    generation: int = 0

    @property
    def live_heir(self) -> int:
        """The attempt that is to take over, 0 where none is under way."""
        return 0 if self.heir_ended else self.heir

    @property
    def attempts(self) -> tuple[int, ...]:
        """The attempts of which something is still expected, or was last: the latest, and its heir."""
        if not self.heir or self.heir_ended:
            return (self.attempt,) if self.attempt else ()
        return (self.attempt, self.heir) if self.attempt else (self.heir,)

    @property
    def node_name(self) -> str:
        """Name of the node the latest attempt ran on, empty before it was placed."""
        return self.node.partition("/")[0]

    @property
    def incarnation(self) -> str:
        """Which of the nodes of that name."""
        return self.node.partition("/")[2]

    def changed(self, **fields: object) -> ShardRecord:
        """Return the record with some of its fields changed."""
        return replace(self, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ShardTable:
    """The records of all shards, as the status holds them.

    `text` has one row a shard, joined by `;`, each with these cells, joined by `,` and cut after the last one that is
    not empty: state and attempt, signal (its place in the enumeration), since, done, recorded (beyond done), base (the
    items done since), setbacks, user failures, not before (beyond since), node (its place in `nodes`), notice (its
    place in the enumeration), noticed at, deadline (beyond noticed at), heir (with an `x` where it has ended),
    silenced, false alarms, infrastructure until and reclaims until (both beyond since), unexplained, barren and
    generation. A table of an earlier version, whose rows are shorter, is read as well.

    A long table is packed, so that the status of the largest sweep stays small: `x`, then the base64 of the cells,
    column by column, with the nodes as the last line, compressed by LZMA2. Earlier versions wrote `z`, and deflated.
    """

    text: str = ""
    nodes: tuple[str, ...] = ()


PACKED_FROM_CHARACTERS = 32 * 1024
_PACKED = "x"
_DEFLATED = "z"
# An eighth shorter than deflated, in the same time; a reader needs the same filter.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 3, "lc": 0, "lp": 0, "pb": 0}]
_CELLS = 21
_ENDED = "x"
_LONGEST_INDEX = 5
# By place, to keep the table short: new ones go to the end of an enumeration, none is ever removed.
_NOTICES = list(NoticeKind)
_SIGNALS = list(Signal)
_STATES = {state.value: state for state in ShardState}
_SIGNAL_PLACES = {signal: str(place) if place else "" for place, signal in enumerate(_SIGNALS)}


def table_of(records: Sequence[ShardRecord]) -> ShardTable:
    """Return the table that holds `records`, which are all of a sweep's shards in order."""
    places: dict[str, int] = {}
    rows = [_row_of(record, places) for record in records]
    text = ";".join(",".join(row).rstrip(",") for row in rows)
    nodes = tuple(places)
    if len(text) + sum(map(len, nodes)) <= PACKED_FROM_CHARACTERS:
        return ShardTable(text=text, nodes=nodes)
    lines = [",".join(column) for column in zip(*rows, strict=True)]
    text = "\n".join([*lines, ",".join(nodes)])
    packed = lzma.compress(text.encode(), format=lzma.FORMAT_RAW, filters=_FILTERS)
    return ShardTable(text=_PACKED + base64.b64encode(packed).decode())


def _row_of(record: ShardRecord, places: dict[str, int]) -> list[str]:
    since, noticed_at = _tenths(record.since), _tenths(record.noticed_at)
    infrastructure_until, reclaims_until = _tenths(record.infrastructure_until), _tenths(record.reclaims_until)
    return [
        record.state.value + (str(record.attempt) if record.attempt else ""),
        _SIGNAL_PLACES[record.signal],
        f"{since:.12g}" if since else "",
        str(record.done) if record.done else "",
        str(record.recorded - record.done) if record.recorded != record.done else "",
        str(record.done - record.base + 1) if record.base else "",
        str(record.setbacks) if record.setbacks else "",
        str(record.user_failures) if record.user_failures else "",
        str(record.not_before - int(since)) if record.not_before else "",
        str(places.setdefault(record.node, len(places) + 1)) if record.node else "",
        str(_NOTICES.index(record.notice)) if record.notice else "",
        f"{noticed_at:.12g}" if noticed_at else "",
        str(record.deadline - int(noticed_at)) if record.deadline else "",
        str(record.heir) + (_ENDED if record.heir_ended else "") if record.heir else "",
        str(record.silenced) if record.silenced else "",
        str(record.false_alarms) if record.false_alarms else "",
        *(f"{until - int(since):.12g}" if until else "" for until in (infrastructure_until, reclaims_until)),
        str(record.unexplained) if record.unexplained else "",
        str(record.barren) if record.barren else "",
        str(record.generation) if record.generation else "",
    ]


def unpacked(table: ShardTable) -> tuple[list[list[str]], tuple[str, ...]]:
    """Return a table's rows, each with all its cells, and its nodes.

    Raises
    ------
    ValueError
        Where the table is not one.
    """
    if table.text.startswith((_PACKED, _DEFLATED)):
        packed = base64.b64decode(table.text[1:], validate=True)
        try:
            if table.text.startswith(_DEFLATED):
                text = zlib.decompress(packed).decode()
            else:
                text = lzma.decompress(packed, format=lzma.FORMAT_RAW, filters=_FILTERS).decode()
        except (zlib.error, lzma.LZMAError) as error:
            raise ValueError(f"status.shardTable cannot be unpacked: {error}") from error
        if not text:
            raise ValueError("status.shardTable cannot be unpacked: nothing is in it")
        *lines, nodes = text.split("\n")
        columns = [line.split(",") for line in lines]
        rows = [list(row) for row in zip(*columns, strict=True)]
        return _filled(rows), tuple(nodes.split(",")) if nodes else ()
    rows = [row.split(",") for row in table.text.split(";")] if table.text else []
    return _filled(rows), table.nodes


def _filled(rows: list[list[str]]) -> list[list[str]]:
    return [row + [""] * (_CELLS - len(row)) for row in rows]


def records_of(table: ShardTable, *, shards: int) -> list[ShardRecord]:
    """Return the records of a table; shards that it does not hold are new.

    Raises
    ------
    ValueError
        Where the table is not one: status is written by the operator alone, so somebody else has edited it.
    """
    rows, nodes = unpacked(table)
    if len(rows) > shards:
        raise ValueError(f"status.shardTable has {len(rows)} rows, the sweep has {shards} shards")
    try:
        records = [_record_of(shard, row, nodes) for shard, row in enumerate(rows)]
    except IndexError as error:
        raise ValueError("status.shardTable refers to a signal, a notice or a node that there is not") from error
    records += [ShardRecord(shard=shard) for shard in range(len(records), shards)]
    return records


def _record_of(shard: int, row: list[str], nodes: Sequence[str]) -> ShardRecord:
    head, signal, since_cell, done_cell, recorded, base, setbacks, user_failures, not_before, node, *announced = row
    notice, noticed_cell, deadline, heir, silenced, false_alarms, *budgets = announced
    infrastructure_until, reclaims_until, unexplained, barren, generation = budgets
    since, noticed_at, done = float(since_cell or 0), float(noticed_cell or 0), int(done_cell or 0)
    return ShardRecord(
        shard=shard,
        state=_STATES.get(head[:1]) or ShardState(head[:1]),
        attempt=int(head[1:] or 0),
        signal=_SIGNALS[int(signal or 0)],
        since=since,
        done=done,
        recorded=done + int(recorded or 0),
        base=done - int(base) + 1 if base else 0,
        setbacks=int(setbacks or 0),
        user_failures=int(user_failures or 0),
        not_before=int(since) + int(not_before) if not_before else 0,
        node=nodes[int(node) - 1] if node else "",
        notice=_NOTICES[int(notice or 0)],
        noticed_at=noticed_at,
        deadline=int(noticed_at) + int(deadline) if deadline else 0,
        heir=int(heir.removesuffix(_ENDED) or 0),
        heir_ended=heir.endswith(_ENDED),
        silenced=int(silenced or 0),
        false_alarms=int(false_alarms or 0),
        infrastructure_until=_after(since, infrastructure_until),
        reclaims_until=_after(since, reclaims_until),
        unexplained=int(unexplained or 0),
        barren=int(barren or 0),
        generation=int(generation or 0),
    )


def _tenths(time: float) -> float:
    return round(time, 1) if time else 0.0


def _after(since: float, cell: str) -> float:
    return round(int(since) + float(cell), 1) if cell else 0.0


def indices_of(ranges: str) -> list[int]:
    """Return the indices, ascending, that ranges such as `0-57,60` name.

    Raises
    ------
    ValueError
        Where the text is not such; the message names the piece.
    """
    indices: set[int] = set()
    for piece in ranges.split(","):
        first, dash, last = piece.strip().partition("-")
        if not (first.isdecimal() and first.isascii() and (not dash or (last.isdecimal() and last.isascii()))):
            raise ValueError(f"{piece.strip()!r} is neither an index nor a range such as 5-7")
        if max(len(first), len(last)) > _LONGEST_INDEX or int(last or first) < int(first):
            raise ValueError(f"{piece.strip()!r} is no range of shards")
        indices.update(range(int(first), int(last or first) + 1))
    return sorted(indices)


def index_ranges(indices: Sequence[int]) -> str:
    """Return ascending indices as ranges, for example `0-57,60`."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
