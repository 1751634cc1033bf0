"""`run`: a sweep of a function, or of a command that is started once an item."""

from __future__ import annotations

import argparse
import os
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from resumable_sweep._command.children import Children, filled
from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._command.items_given import items_in, items_of_text, key_function
from resumable_sweep._command.listing import list_checkpoints
from resumable_sweep._command.log_view import LogView
from resumable_sweep._command.places import Place, config_in, make_room, place_of_run
from resumable_sweep._command.table import tell
from resumable_sweep._command.target import function_of, script_of_command
from resumable_sweep._drift import PARTS
from resumable_sweep._items import items_of_file
from resumable_sweep._outcome import ItemsFailed
from resumable_sweep._run import Mode, run
from resumable_sweep._settings import OnError
from resumable_sweep._statistics import read_statistics
from resumable_sweep._sweep import ResumableSweep
from resumable_sweep._threads import Threads
from resumable_sweep.contract import environment as env
from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.items import Item

_SHARD = re.compile(r"([0-9]+)/([0-9]+)")


def add_run(commands: Any) -> None:
    """Add the sub-command `run`."""
    parser = commands.add_parser(
        "run",
        help="run a function or a command for each item, and go on where it was cut off",
        description="Run a function, or a command, for each item that is not done yet, and keep the results.",
        usage="resumable-sweep run [options] MODULE:FUNCTION | FILE.py:FUNCTION\n"
        "       resumable-sweep run [options] -- COMMAND [ARGUMENT ...]",
    )
    parser.add_argument("function", nargs="?", metavar="FUNCTION", help="module:function or path/to/file.py:function")
    items = parser.add_argument_group("items").add_mutually_exclusive_group()
    items.add_argument("--items", metavar="FILE", help="a file of items (.jsonl, .json, .csv); default: SWEEP_ITEMS")
    items.add_argument("--matrix", metavar="TEXT", help="all combinations of e.g. 'lr=0.1,0.01;seed=0..3'")
    _add_places(parser.add_argument_group("where the results go"))
    _add_ways(parser.add_argument_group("how it runs"))
    parser.set_defaults(handler=run_sweep)


def run_sweep(given: argparse.Namespace) -> Ending:
    """Run a sweep, and say what it came to."""
    if given.list_checkpoints:
        return list_checkpoints(Path(given.folder or "."), as_json=given.json)
    words = _words(given)
    config = config_in(Path(given.config)) if given.config else None
    items = _items(given)
    place = place_of_run(given, words=words, config=config, environ=os.environ)
    if given.overwrite and not given.no_resume:
        raise CommandError(Ending.USAGE, "--overwrite goes with --no-resume")
    work = _work(given, words, place=place, config=config, items=items)
    if given.no_resume:
        make_room(place.log_path, overwrite=given.overwrite, lock_timeout_s=given.lock_timeout)
    with warnings.catch_warnings():
        warnings.showwarning = _tell_warning
        try:
            work()
        except ItemsFailed:
            _print_outcome(place, as_json=given.json)
            raise
    _print_outcome(place, as_json=given.json)
    return Ending.OK


def _add_places(group: Any) -> None:
    place = group.add_mutually_exclusive_group()
    place.add_argument("--checkpoint", metavar="LOG", help="the log of results")
    place.add_argument("--folder", metavar="RUNS", help="a folder of runs: the log is RUNS/<run id>/results.jsonl")
    group.add_argument("--run-id", metavar="ID", help="default: made of --config, without one of what is run")
    group.add_argument("--config", metavar="FILE", help="what the results are made from, as JSON or TOML")
    resume = group.add_mutually_exclusive_group()
    resume.add_argument("--resume", metavar="ID", help="go on with that run in --folder, or with the `latest`")
    resume.add_argument("--no-resume", action="store_true", help="start anew; refused where there is a log")
    group.add_argument("--overwrite", action="store_true", help="with --no-resume: keep the log there as .backup-N")
    group.add_argument("--resume-from", metavar="SOURCE", help="path or URL of a checkpoint to take results from")
    group.add_argument("--list-checkpoints", action="store_true", help="list what there is in --folder, run nothing")


def _add_ways(group: Any) -> None:
    group.add_argument("--workers", type=int, default=1, metavar="N", help="so many items at once; default: 1")
    group.add_argument("--mode", choices=get_args(Mode), help="of several workers of a function; default: threads")
    group.add_argument("--shard", type=_shard, metavar="I/N", help="of N shards of the items run that one, from 0")
    group.add_argument("--max-attempts", type=int, default=3, metavar="N", help="so often an item may fail; default: 3")
    group.add_argument(
        "--on-error", choices=get_args(OnError), default="finish", help="what failed items do; default: finish"
    )
    group.add_argument("--checkpoint-every", type=int, metavar="N", help="bring results to disk N at a time")
    group.add_argument("--checkpoint-seconds", type=float, metavar="S", help="or S seconds after the first of them")
    group.add_argument("--grace", type=float, metavar="S", help="after a signal, end what runs after S seconds")
    group.add_argument("--notice-file", metavar="FILE", help="a file that asks for a stop by being there")
    group.add_argument("--lock-timeout", type=float, default=0.0, metavar="S", help="wait so long for the log")
    group.add_argument("--seed", type=int, metavar="N", help="the sweep's seed; default: that of the log, else 0")
    group.add_argument("--pass-seed", action="store_true", help="call the function with seed=, the item's own")
    group.add_argument("--script", metavar="FILE", help="whose change counts as drift; default: the function's file")
    group.add_argument("--no-script", action="store_true", help="no script's change counts as drift")
    group.add_argument(
        "--allow-drift",
        action="append",
        default=[],
        choices=[*PARTS, "all"],
        help="go on although that has changed; repeatable",
    )
    group.add_argument("--progress", action=argparse.BooleanOptionalAction, help="show progress on standard error")
    group.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _words(given: argparse.Namespace) -> list[str]:
    command: list[str] = given.command_words
    if given.function is not None and command:
        raise CommandError(Ending.USAGE, f"{given.function!r} and a command after -- are both to be run: give one")
    words = command or ([given.function] if given.function is not None else [])
    if not words:
        raise CommandError(Ending.USAGE, "there is nothing to run: give module:function, or a command after --")
    if not command and function_of(words) is None:
        raise CommandError(
            Ending.USAGE,
            f"{given.function!r} must be module:function or path/to/file.py:function; a command comes after --",
        )
    return words


def _items(given: argparse.Namespace) -> list[Item] | None:
    """Return the items of the whole sweep, None where this shard's are to be taken from `SWEEP_ITEMS`."""
    if given.items is not None:
        return items_in(Path(given.items))
    if given.matrix is not None:
        return items_of_text(given.matrix)
    if not os.environ.get(env.ITEMS):
        raise CommandError(Ending.USAGE, f"there are no items: pass --items FILE or --matrix, or set {env.ITEMS}")
    return None


def _work(
    given: argparse.Namespace, words: Sequence[str], *, place: Place, config: Any, items: list[Item] | None
) -> Callable[[], Any]:
    """Return what runs the sweep."""
    parameters = {
        "items": None if items is None else [item.value for item in items],
        "key": None if items is None else key_function(items),
        "checkpoint_path": place.log_path,
        "run_id": place.run_id,
        "config": config,
        "resume_from": given.resume_from,
        "shard": given.shard,
        "seed": given.seed,
        "allow_drift": True if "all" in given.allow_drift else given.allow_drift,
        "max_attempts": given.max_attempts,
        "on_error": given.on_error,
        "checkpoint_every": given.checkpoint_every,
        "checkpoint_seconds": given.checkpoint_seconds,
        "lock_timeout": given.lock_timeout,
        "grace": given.grace,
        "notice_file": given.notice_file,
        "show_progress": given.progress,
    }
    if given.script is not None and given.no_script:
        raise CommandError(Ending.USAGE, f"--script {given.script} and --no-script contradict each other")
    function = function_of(words)
    if function is not None:
        script = function.script
        fn = function.for_processes() if given.mode == "processes" else function.load()
        parameters["script"] = given.script or (script if script is not None and not given.no_script else False)
        options = {"workers": given.workers, "mode": given.mode, "pass_seed": given.pass_seed}
        return lambda: run(fn, **options, **parameters)
    if given.mode is not None or given.pass_seed:
        option = "--mode" if given.mode is not None else "--pass-seed"
        raise CommandError(
            Ending.USAGE, f"{option} is for functions: a command has processes of its own, and {{seed}} among its words"
        )
    if given.workers < 1:
        raise CommandError(Ending.USAGE, f"--workers {given.workers} must be 1 or more")
    script = script_of_command(words)
    parameters["script"] = given.script or (script if script is not None and not given.no_script else False)
    keys = _keys_of(words, items)
    return lambda: _run_command(words, keys=keys, workers=given.workers, parameters=parameters)


def _keys_of(words: Sequence[str], items: list[Item] | None) -> dict[str, Any]:
    """Return the items' keys by the canonical JSON of the items; see that the words' placeholders fit all of them."""
    if items is None:
        path = Path(os.environ[env.ITEMS])
        try:
            items = items_of_file(path)
        except FileNotFoundError:
            raise CommandError(Ending.NO_INPUT, f"{env.ITEMS} names {path}, which is not there") from None
    for item in items:
        # A misspelt field would else make every item fail, and cost each of them a try.
        filled(words, item.value, key=item.key, seed=lambda: 0)
    return {canonical_json(item.value): item.key for item in items}


def _run_command(words: Sequence[str], *, keys: dict[str, Any], workers: int, parameters: dict[str, Any]) -> None:
    with ResumableSweep(**parameters) as sweep:
        children = Children(
            words,
            key_of=lambda item: keys[canonical_json(item)],
            seed_of=lambda item: sweep.seed_of(item).integer(),
            stop=lambda: sweep._stop.signum,
        )
        Threads(sweep, [children.run] * workers, stop=sweep._stop, abandon=children.kill).run()


def _print_outcome(place: Place, *, as_json: bool) -> None:
    stats = read_statistics(place.log_path)
    if stats is None:
        with LogView(place.log_path) as view:
            stats = view.stats()
    if as_json:
        print(stats.to_json())
        return
    parts = [f"{stats.completed} of {stats.total} items are done"]
    parts += [f"{count} {name}" for count, name in ((stats.failed, "failed"), (stats.skipped, "skipped")) if count]
    if stats.replayed:
        parts.append(f"{stats.replayed} of them were before, which saved {stats.seconds_saved:.1f} s")
    print(f"{', '.join(parts)}: {place.log_path}")


def _tell_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    tell(str(message))


def _shard(text: str) -> tuple[int, int]:
    found = _SHARD.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be I/N, such as 0/4: shards count from 0")
    shard, shards = int(found[1]), int(found[2])
    if shard >= shards:
        raise argparse.ArgumentTypeError(f"{text!r} is none: shards count from 0 and go up to {shards - 1}")
    return shard, shards
