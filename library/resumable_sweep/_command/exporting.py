"""`export`: results, failures or skipped items as a file that other programs read."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._command.items_given import items_in
from resumable_sweep._command.log_view import LogView, log_named
from resumable_sweep._command.merging import Merged, Placed
from resumable_sweep._command.rows import cell_of, flat, plain, write_parquet
from resumable_sweep._command.table import tell
from resumable_sweep._disk import sync_folder, temporary_path, write_at
from resumable_sweep._foreign.mime_export import write_mime_progress
from resumable_sweep._ledger import State
from resumable_sweep._settings import PROGRESS_SUFFIX
from resumable_sweep._side_files import SideFileDamaged, SideFiles
from resumable_sweep._values import decoded_value
from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.columns import joined_type, type_of
from resumable_sweep.contract.items import Item

FORMATS = ("jsonl", "csv", "parquet", "mime")
_PIECE_CHARACTERS = 1 << 20


def add_export(commands: Any) -> None:
    """Add the sub-command `export`."""
    parser = commands.add_parser(
        "export",
        help="write the results as JSON Lines, CSV, Parquet or a progress file of mime-engine's",
        description="Write the results of a sweep. Several logs, of its shards, are written as one. A sweep that is "
        "not complete is refused.",
    )
    parser.add_argument("logs", nargs="+", metavar="LOG", help="a log, or the folder of a run")
    parser.add_argument("--format", choices=FORMATS, default="jsonl", help="default: jsonl")
    parser.add_argument("-o", "--output", metavar="FILE", help="default: standard output")
    parser.add_argument("--items", metavar="FILE", help="the sweep's items (.jsonl, .json, .csv): export these")
    parser.add_argument("--partial", action="store_true", help="export what there is of a sweep that is not complete")
    parser.add_argument("--last-wins", action="store_true", help="where logs disagree on a result, take the later's")
    parser.add_argument("--inline", action="store_true", help="arrays as lists, and bytes in base64")
    parser.add_argument("--provenance", action="store_true", help="add attempt, host, started and ended")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--failed", action="store_true", help="export the failed items: key, error, traceback, failures")
    what.add_argument("--skipped", action="store_true", help="export the skipped items: key, why")
    parser.set_defaults(handler=export)


def export(given: argparse.Namespace) -> Ending:
    """Write what was asked for."""
    _check_options(given)
    order = items_in(Path(given.items)) if given.items else []
    with ExitStack() as stack:
        views = [stack.enter_context(LogView(log_named(name))) for name in given.logs]
        merged = Merged(views, last_wins=given.last_wins)
        if not (given.partial or given.failed or given.skipped):
            merged.check_complete(order)
        lines = _Lines(merged, order, given)
        if given.format == "mime":
            kept = write_mime_progress(_mime_path(given.output), ((line["key"], line["result"]) for line in lines))
            if kept is not None:
                tell(f"a damaged progress file was there; it is kept as {kept}")
        elif given.format == "parquet":
            _write_parquet(Path(given.output), lines)
        else:
            _write_text(given.output, _csv_pieces(lines) if given.format == "csv" else _jsonl_pieces(lines))
    return Ending.OK


class _Lines:
    """The lines of an export, read anew by each iteration, so that none is held."""

    def __init__(self, merged: Merged, order: Sequence[Item], given: argparse.Namespace) -> None:
        self._merged = merged
        self._order = order
        self._state = State.FAILED if given.failed else State.SKIPPED if given.skipped else State.DONE
        self._provenance = given.provenance
        self._inline = given.inline or given.format == "mime"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self._line, self._merged.in_state(self._state, self._order))

    def _line(self, placed: Placed) -> dict[str, Any]:
        entry = placed.view.entry(placed.standing)
        line: dict[str, Any] = {"key": entry["key"]}
        if self._state is State.DONE:
            line["result"] = self._result(placed, entry["result"])
        elif self._state is State.FAILED:
            line |= {"error": entry["error"], "traceback": entry.get("traceback") or ""}
            line["failures"] = placed.standing.failures
        else:
            line["why"] = entry["why"]
        if self._provenance:
            line |= {name: entry.get(name) for name in ("attempt", "host")}
            line |= {"started": entry.get("started"), "ended": entry.get("ended", entry.get("at"))}
        return line

    def _result(self, placed: Placed, result: Any) -> Any:
        if not self._inline:
            return result
        try:
            return plain(decoded_value(result, fetch=SideFiles(placed.view.path).fetch))
        except SideFileDamaged as error:
            raise SideFileDamaged(f"item {placed.standing.name:.200}: {error}") from error
        except ValueError as error:
            raise CommandError(Ending.CORRUPT, f"item {placed.standing.name:.200}: {error}") from error
        except ImportError as error:
            raise CommandError(Ending.USAGE, f"--inline: {error}") from error


def _check_options(given: argparse.Namespace) -> None:
    def refuse(text: str) -> CommandError:
        return CommandError(Ending.USAGE, text)

    if given.format in ("parquet", "mime") and given.output is None:
        raise refuse(f"--format {given.format} is no text: say where it goes with -o FILE")
    if given.format == "parquet" and find_spec("pyarrow") is None:
        raise refuse("--format parquet needs the package pyarrow: install it, or take --format csv")
    if given.format == "mime" and (given.provenance or given.failed or given.skipped):
        raise refuse("--format mime has keys and results only: leave out --provenance, --failed and --skipped")


def _jsonl_pieces(lines: _Lines) -> Iterator[str]:
    return (canonical_json(line) + "\n" for line in lines)


def _csv_pieces(lines: _Lines) -> Iterator[str]:
    columns: dict[str, None] = {}
    for line in lines:
        columns.update(dict.fromkeys(flat(line)))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(list(columns) or ["key"])
    for line in lines:
        cells = flat(line)
        writer.writerow([cell_of(cells.get(name)) for name in columns])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _write_parquet(path: Path, lines: _Lines) -> None:
    columns: dict[str, str] = {"key": "text"}
    for line in lines:
        for name, value in flat(line).items():
            columns[name] = joined_type(columns.get(name, "null"), type_of(value))
    temporary = temporary_path(path)
    try:
        write_parquet(str(temporary), columns, map(flat, lines))
        _put_in_place(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - files are changed through `os` alone
        raise


def _write_text(output: str | None, pieces: Iterator[str]) -> None:
    if output is None:
        sys.stdout.flush()
        for data in _gathered(pieces):
            view = memoryview(data)
            # Unbuffered (PYTHONUNBUFFERED), it may take but a part, and says so nowhere else.
            while view:
                view = view[sys.stdout.buffer.write(view) :]
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    temporary = temporary_path(path)
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            end = 0
            for data in _gathered(pieces):
                write_at(file, data, end)
                end += len(data)
        finally:
            os.close(file)
        _put_in_place(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - files are changed through `os` alone
        raise


def _gathered(pieces: Iterator[str]) -> Iterator[bytes]:
    held, size = [], 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _PIECE_CHARACTERS:
            yield _encoded(held)
            held, size = [], 0
    yield _encoded(held)


def _encoded(pieces: list[str]) -> bytes:
    # Half of a surrogate pair, as an error's text may hold it, has no form in UTF-8.
    return "".join(pieces).encode("utf-8", "backslashreplace")


def _put_in_place(temporary: Path, path: Path) -> None:
    file = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(temporary, path)  # noqa: PTH105
    sync_folder(path.parent)


def _mime_path(output: str) -> Path:
    path = Path(output).absolute()
    return path if path.name.endswith(PROGRESS_SUFFIX) else path.with_name(path.name + PROGRESS_SUFFIX)
