"""What the shards of a run record of each item, on disk: a million results need no gigabytes of memory."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from enum import IntEnum
from types import TracebackType
from typing import Any

from resumable_sweep.contract.canonical import canonical_json

_CACHE_KIB = 64 << 10
_ROWS_AT_ONCE = 1000

ORIGIN_FIELDS = ("key", "shard", "attempt", "host", "started", "ended")
SKIPPED_FIELDS = ("key", "why", "shard", "attempt", "host", "at")
FAILED_FIELDS = ("key", "error", "traceback", "shard", "attempt", "host", "started", "ended")


class State(IntEnum):
    """How an item stands; of two records of one item, the lower state wins."""

    DONE = 0
    SKIPPED = 1
    FAILED = 2


class DuplicateKeys(Exception):
    """Two shards have recorded the same item: the program does not keep to its share."""


class Records:
    """The records of a run, keyed by the items' identities; a context manager that holds a temporary database.

    It lies in the temporary directory, or in memory where none can be written to. `line` is what an export says of the
    item, `origin` (results only) where the result comes from: both canonical JSON with a newline.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect(_place(), isolation_level=None)
        run = self._database.execute
        run("PRAGMA journal_mode=OFF")
        run("PRAGMA synchronous=OFF")
        run(f"PRAGMA cache_size=-{_CACHE_KIB}")
        # Sorted as bytes of UTF-8, which is the order of Python's strings.
        run(
            "CREATE TABLE records (name BLOB, shard INTEGER, file INTEGER, state INTEGER, line BLOB, origin BLOB, "
            "PRIMARY KEY (name, shard, file)) WITHOUT ROWID"
        )
        run("CREATE TABLE items (place INTEGER PRIMARY KEY, name BLOB)")
        run("BEGIN")
        self._has_items = False

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def put_result(self, name: str, record: dict[str, Any], *, shard: int, file: int) -> None:
        """Note an item's result; the last one of a file counts."""
        line = f'{{"key":{name},"result":{canonical_json(record["result"])}}}\n'
        self._database.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)",
            (_bytes(name), shard, file, State.DONE, _bytes(line), _line(record, ORIGIN_FIELDS, shard)),
        )

    def put_other(self, name: str, record: dict[str, Any], *, state: State, shard: int, file: int) -> None:
        """Note that an item was skipped or has failed; it displaces no result of the same file."""
        line = _line(record, SKIPPED_FIELDS if state is State.SKIPPED else FAILED_FIELDS, shard)
        self._database.execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT (name, shard, file) "
            "DO UPDATE SET state = excluded.state, line = excluded.line WHERE records.state != 0",
            (_bytes(name), shard, file, state, line),
        )

    def take_back(self, name: str, *, shard: int, file: int) -> None:
        """Forget that a file had an item as skipped or failed: it was started again."""
        self._database.execute(
            "DELETE FROM records WHERE name = ? AND shard = ? AND file = ? AND state != 0", (_bytes(name), shard, file)
        )

    def forget(self, name: str, *, shard: int, file: int) -> None:
        """Forget all that a file had of an item."""
        self._database.execute(
            "DELETE FROM records WHERE name = ? AND shard = ? AND file = ?", (_bytes(name), shard, file)
        )

    def settle(self, shard: int) -> None:
        """Keep one record of each item of a shard whose files are all in: a result before all else, then the later."""
        self._database.execute(
            "DELETE FROM records WHERE shard = :shard AND EXISTS (SELECT 1 FROM records AS other WHERE "
            "other.name = records.name AND other.shard = :shard AND (other.state < records.state OR "
            "(other.state = records.state AND other.file > records.file)))",
            {"shard": shard},
        )

    def put_items(self, names: Iterable[str]) -> None:
        """Note the run's items, in their order; without this they are unknown."""
        self._has_items = True
        self._database.executemany("INSERT INTO items (name) VALUES (?)", ((_bytes(name),) for name in names))

    def check_shares(self) -> None:
        """Refuse a key that two shards have settled.

        Raises
        ------
        DuplicateKeys
        """
        found = self._database.execute(
            "SELECT name, min(shard), max(shard) FROM records WHERE state < 2 GROUP BY name HAVING count(*) > 1 LIMIT 1"
        ).fetchone()
        if found is not None:
            name, one, other = found
            raise DuplicateKeys(
                f"item {_text(name)} was recorded by shard {one} and by shard {other}: the program "
                "must run its share of the items only (SWEEP_ITEMS, or SWEEP_SHARD of SWEEP_SHARDS), "
                "or the sweep needs shards: 1"
            )

    def lines(self, state: State) -> Iterator[bytes]:
        """Yield the line of each item in that state, in the order of the items; unknown items by their keys."""
        return self._in_order("line", state)

    def origins(self) -> Iterator[bytes]:
        """Yield where each result comes from, in the same order as the results."""
        return self._in_order("origin", State.DONE)

    def missing(self) -> Iterator[tuple[int, str]]:
        """Yield place (from 0) and identity of the items that nothing was recorded of but perhaps a failure."""
        rows = self._database.execute(
            "SELECT place - 1, name FROM items WHERE NOT EXISTS (SELECT 1 FROM records WHERE "
            "records.name = items.name AND records.state < 2) ORDER BY place"
        )
        return ((row[0], _text(row[1])) for row in _rows(rows))

    def count(self, state: State) -> int:
        """Return how many items of the run are in that state."""
        return self._number(f"SELECT count(*) FROM records {self._of_items()} WHERE state = ?", state)

    def count_items(self) -> int:
        """Return how many items the run has, as far as they are known."""
        return self._number("SELECT count(*) FROM items")

    def count_foreign(self) -> int:
        """Return how many keys are done or skipped that are no items of the run."""
        settled = self._number("SELECT count(*) FROM records WHERE state < 2")
        return settled - self.count(State.DONE) - self.count(State.SKIPPED)

    def results_with(self, text: str, *, shard: int) -> Iterator[bytes]:
        """Yield the lines of a shard's results that hold `text`."""
        rows = self._database.execute(
            f"SELECT line FROM records {self._of_items()} WHERE state = 0 AND shard = ? AND instr(line, ?)",
            (shard, text.encode()),
        )
        return (row[0] for row in _rows(rows))

    def _in_order(self, column: str, state: State) -> Iterator[bytes]:
        order = "items.place" if self._has_items else "records.name, records.shard"
        rows = self._database.execute(
            f"SELECT {column} FROM {'items CROSS ' if self._has_items else ''}"
            f"{'JOIN records ON records.name = items.name' if self._has_items else 'records'} "
            f"WHERE state = ? ORDER BY {order}",
            (state,),
        )
        return (row[0] for row in _rows(rows))

    def _of_items(self) -> str:
        return "JOIN items ON items.name = records.name" if self._has_items else ""

    def _number(self, question: str, *values: int) -> int:
        return int(self._database.execute(question, values).fetchone()[0])


def _place() -> str:
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return ":memory:"
    return ""  # a private file that is made only when the cache is full, and vanishes with the process


def _rows(cursor: sqlite3.Cursor) -> Iterator[Any]:
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield from rows


def _line(record: dict[str, Any], fields: tuple[str, ...], shard: int) -> bytes:
    said = {field: record.get(field) for field in fields} | {"shard": shard}
    return _bytes(canonical_json(said) + "\n")


def _bytes(text: str) -> bytes:
    # Half of a surrogate pair has no form in UTF-8, but its escape is JSON.
    return text.encode("utf-8", "backslashreplace")


def _text(data: bytes) -> str:
    return data.decode("utf-8")
