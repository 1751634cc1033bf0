"""The command `resumable-sweep store`: its words are parsed, and errors become a sentence and an exit code."""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from resumable_sweep.contract.outcome import Exit
from sweep_sidecar.inspection.exporting import Asked, Exported, ExportInvalid, export_run
from sweep_sidecar.inspection.listing import list_runs
from sweep_sidecar.inspection.restoring import TargetInvalid, restore_to
from sweep_sidecar.inspection.runs import Run, RunNotFound, one_run, runs_below, shape_of
from sweep_sidecar.inspection.table import print_json, print_table, size_text, tell
from sweep_sidecar.inspection.telling import print_log
from sweep_sidecar.inspection.verifying import Verification, verify_run
from sweep_sidecar.items import ItemsChanged
from sweep_sidecar.log.entry import CheckpointCorrupt
from sweep_sidecar.merging.formats import FORMATS
from sweep_sidecar.merging.gathering import Incomplete
from sweep_sidecar.merging.records import DuplicateKeys
from sweep_sidecar.retaining import Span, begun_at, doomed, let_go
from sweep_sidecar.retention import LogMoved, Rule, Sweep, is_complete, planned_sweep, swept
from sweep_sidecar.store import StoreNotCreateOnly, Unreachable, UrlUnsupported

OK = 0
FOUND = 1
"""`verify` has found something wrong."""
USAGE = 2
NO_INPUT = 66
"""There is no such run, shard or generation (EX_NOINPUT)."""
MOVED = 75
"""Somebody writes: try again later (EX_TEMPFAIL)."""
PIPE_CLOSED = 141
"""Whoever read the output has gone; as a shell says of SIGPIPE."""

_KEEP = 3
_OLDER_THAN = "7d"
_BESIDE = ("provenance", "failed", "skipped", "missing")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_ENDINGS: tuple[tuple[type[Exception], int], ...] = (
    (UrlUnsupported, USAGE),
    (ExportInvalid, USAGE),
    (TargetInvalid, USAGE),
    (RunNotFound, NO_INPUT),
    (LogMoved, MOVED),
    (Unreachable, Exit.STORE_UNREACHABLE),
    (StoreNotCreateOnly, Exit.STORE_NOT_CREATE_ONLY),
    (CheckpointCorrupt, Exit.CHECKPOINT_CORRUPT),
    (ItemsChanged, Exit.ITEMS_CHANGED),
    (Incomplete, Exit.INCOMPLETE),
    (DuplicateKeys, Exit.DUPLICATE_KEYS),
    (OSError, Exit.FAILED),
)


def main(arguments: Sequence[str], *, clock: Callable[[], float] = time.time) -> int:
    """Run the command with `arguments`, the words after `store`, and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an error's text may hold half of a surrogate pair
    logging.basicConfig(level=logging.WARNING, format="resumable-sweep: %(message)s")
    parser = parser_of_command()
    given = parser.parse_args(list(arguments))
    given.now = clock()
    try:
        ending: int = given.handler(given)
        sys.stdout.flush()
        return ending
    except BrokenPipeError:
        # Or the interpreter would complain when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        for kind, code in _ENDINGS:
            if isinstance(error, kind):
                mend = ": pass --partial to export what there is" if isinstance(error, Incomplete) else ""
                tell(f"{error}{mend}")
                return code
        raise


def parser_of_command() -> argparse.ArgumentParser:
    """Return the parser of the words after `store`."""
    parser = argparse.ArgumentParser(
        prog="resumable-sweep store",
        description="Look into a sweep's store, without a cluster. A URL names a run's folder or one above it: "
        "gs://BUCKET/FOLDER/<namespace>/<name>/<run id>.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    for add in (_add_ls, _add_log, _add_verify, _add_restore, _add_merge, _add_gc):
        command = add(commands)
        command.allow_abbrev = False
    return parser


def _add_ls(commands: _Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser("ls", help="the runs below a URL, and the shards of one")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--json", action="store_true", help="print JSON, with the shards of every run")
    parser.set_defaults(handler=_ls)
    return parser


def _ls(given: argparse.Namespace) -> int:
    list_runs(runs_below(given.url), now=given.now, as_json=given.json)
    return OK


def _add_log(commands: _Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser("log", help="a shard's log, oldest entry first")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--shard", type=_whole(0), required=True, metavar="N", help="which shard")
    parser.add_argument("--last", type=_whole(1), metavar="N", help="the newest N entries only")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_log)
    return parser


def _log(given: argparse.Namespace) -> int:
    print_log(one_run(given.url), given.shard, last=given.last, as_json=given.json)
    return OK


def _add_verify(commands: _Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser("verify", help="check that all that the logs speak of is there")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--deep", action="store_true", help="read and hash every blob as well")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_verify)
    return parser


def _verify(given: argparse.Namespace) -> int:
    found = [verify_run(run, deep=given.deep) for run in runs_below(given.url)]
    if given.json:
        print_json([one.to_json() for one in found])
    else:
        for one in found:
            _print_verification(one, deep=given.deep)
    return FOUND if any(one.findings for one in found) else OK


def _print_verification(found: Verification, *, deep: bool) -> None:
    blobs = f"{found.blobs} {'blobs read' if deep else 'blobs are there, not read'}"
    print(f"{found.url}: {found.entries} entries, {blobs}, {len(found.findings)} wrong")
    for finding in found.findings:
        place = "" if finding.shard is None else f"shard {finding.shard}: "
        place += "" if finding.seq is None else f"entry {finding.seq}: "
        print(f"  WRONG {place}{finding.problem}")
    troubled = {finding.shard for finding in found.findings}
    for shard, said in found.restores.items():
        if shard in troubled:
            print(f"  shard {shard}: {said}")
    if found.unreferenced:
        print(f"  {found.unreferenced} blobs ({size_text(found.unreferenced_bytes)}) that no generation refers to")


def _add_restore(commands: _Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser("restore", help="a shard's files into a directory, each checked")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--shard", type=_whole(0), required=True, metavar="N", help="which shard")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="an empty directory, or a new one")
    parser.add_argument(
        "--generation", type=_whole(0), metavar="SEQ", help="this one; else the newest that is whole, as a restart does"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_restore)
    return parser


def _restore(given: argparse.Namespace) -> int:
    fetched = restore_to(one_run(given.url), given.shard, given.to, seq=given.generation)
    if given.json:
        print_json({**asdict(fetched), "skipped": [damage.to_json() for damage in fetched.skipped]})
        return OK
    for damage in fetched.skipped:
        tell(f"passed over {damage.generation}: {damage.reason}")
    print(
        f"generation {fetched.generation} with {fetched.items_done} items: "
        f"{fetched.files} {'file' if fetched.files == 1 else 'files'}, "
        f"{size_text(fetched.size_bytes)}, in {given.to}"
    )
    return OK


def _add_merge(commands: _Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser("merge", help="the results of all shards as one file, in the order of the items")
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--format", choices=FORMATS, default="jsonl", help="default: jsonl")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument("--partial", action="store_true", help="what there is of a run that is not complete")
    parser.add_argument("--provenance", action="store_true", help="beside FILE: where each result comes from")
    parser.add_argument("--failed", action="store_true", help="beside FILE: items whose last try went wrong")
    parser.add_argument("--skipped", action="store_true", help="beside FILE: items that the program has skipped")
    parser.add_argument("--missing", action="store_true", help="beside FILE: items neither done nor skipped")
    parser.add_argument("--side-files", type=Path, metavar="DIR", help="write the files that results name to DIR")
    parser.set_defaults(handler=_merge)
    return parser


def _merge(given: argparse.Namespace) -> int:
    asked = Asked(
        format=given.format,
        output=given.output,
        beside=tuple(name for name in _BESIDE if getattr(given, name)),
        side_files=given.side_files,
        partial=given.partial,
    )
    _tell_exported(export_run(one_run(given.url), asked))
    return OK


def _tell_exported(exported: Exported) -> None:
    # On standard error: the results may be on the other.
    parts = [f"{exported.items} results"]
    parts += [f"{exported.skipped} skipped"] if exported.skipped else []
    parts += [f"{exported.failed} failed"] if exported.failed else []
    parts += [f"{exported.foreign} of keys that are no items left out"] if exported.foreign else []
    parts += [f"{exported.side_files} side files"] if exported.side_files is not None else []
    parts += [f"not complete: {', '.join(exported.unfinished)}"] if exported.unfinished else []
    tell("; ".join(parts))


def _add_gc(commands: _Commands) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        "gc",
        help="delete old generations, and blobs that nothing refers to",
        description="Delete old generations of ended runs, and blobs that nothing refers to. Of runs in which "
        "attempts may write only old blobs go. It is the one command that needs an identity that may delete.",
    )
    parser.add_argument("url", metavar="URL")
    parser.add_argument(
        "--keep",
        type=_whole(1),
        default=_KEEP,
        metavar="K",
        help="whole generations of each shard (default: %(default)s)",
    )
    parser.add_argument(
        "--older-than",
        type=_span,
        default=_OLDER_THAN,
        metavar="SPAN",
        help="leave runs alone that were written to more recently, and where attempts may write all blobs that are "
        "younger: 90s, 30m, 12h, 7d (default: %(default)s)",
    )
    parser.add_argument(
        "--stopped",
        action="store_true",
        help="of runs that are not complete the same: no pod of theirs is alive, and none starts meanwhile",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be deleted")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_gc)
    return parser


def _gc(given: argparse.Namespace) -> int:
    rule = Rule(keep=given.keep, age_s=given.older_than, stopped=given.stopped)
    sweeps: list[Sweep] = []
    failures: list[Exception] = []
    for run in runs_below(given.url):
        try:
            sweeps.append(_swept_run(run, rule, given))
        except (CheckpointCorrupt, LogMoved) as error:  # no reason not to go on with the next run
            failures.append(error)
            sweeps.append(Sweep(url=run.store.url, left_alone=str(error)))
    if given.json:
        print_json([{**asdict(sweep), "dry_run": given.dry_run} for sweep in sweeps])
    else:
        _print_sweeps(sweeps, dry_run=given.dry_run)
    if failures:
        raise failures[0]
    return OK


def _print_sweeps(sweeps: Sequence[Sweep], *, dry_run: bool) -> None:
    print_table(
        ("RUN", "GENERATIONS", "ENTRIES", "BLOBS", "SIZE", "NOTE"),
        (
            (
                sweep.url,
                sum(map(len, sweep.retired.values())),
                sum(map(len, sweep.entries.values())),
                len(sweep.blobs),
                size_text(sweep.size_bytes),
                _note(sweep, dry_run=dry_run),
            )
            for sweep in sweeps
        ),
    )


def _note(sweep: Sweep, *, dry_run: bool) -> str:
    if sweep.left_alone:
        return f"left alone: {sweep.left_alone}"
    if not (sweep.blobs or any(sweep.entries.values())):
        return "nothing to delete"
    return "would be deleted" if dry_run else "deleted"


def _swept_run(run: Run, rule: Rule, given: argparse.Namespace) -> Sweep:
    if run.shards and not rule.stopped and not is_complete(run):
        return _retained_run(run, rule, given)
    sweep = planned_sweep(run, rule, now=given.now)
    if not sweep.left_alone and not given.dry_run:
        swept(run, sweep, rule, now=given.now)
    return sweep


def _retained_run(run: Run, rule: Rule, given: argparse.Namespace) -> Sweep:
    try:
        span = Span(generations=rule.keep, after_s=rule.age_s)
    except ValueError:
        why = "attempts may write into it: --older-than 24h at least, or --stopped says that none does"
        return Sweep(url=run.store.url, left_alone=why)
    began = given.now if given.dry_run else begun_at(run.store, nonce=lambda: uuid.uuid4().hex)
    going = doomed(run.store, run_id=run.run_id, shards=shape_of(run).shards, span=span, began=began)
    if not given.dry_run:
        let_go(run.store, going, span=span, time=given.now)
    return Sweep(
        url=run.store.url,
        left_alone=going.left_alone,
        retired={shard: list(seqs) for shard, seqs in going.retired.items()},
        blobs=list(going.blobs),
        size_bytes=going.size_bytes,
    )


def _whole(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of {least} or more")
        return int(text)

    return number


def _span(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number with s, m, h or d after it: 12h")
    return float(int(found[1]) * _UNITS_S[found[2]])
