"""The command itself: its words are parsed, a sub-command is called, and errors become a sentence and an exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from resumable_sweep._command.ending import Ending, ending_of
from resumable_sweep._command.exporting import add_export
from resumable_sweep._command.listing import add_list, list_checkpoints
from resumable_sweep._command.plugged_in import STORE, STORE_HELP, command_named
from resumable_sweep._command.repairing import add_repair
from resumable_sweep._command.running import add_run
from resumable_sweep._command.showing import add_show
from resumable_sweep._command.table import tell
from resumable_sweep._command.telling import add_failed, add_stats
from resumable_sweep._command.verifying import add_verify

_END_OF_OPTIONS = "--"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: those of the process), and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an error's text may hold half of a surrogate pair
    try:
        ending = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return ending
    except BrokenPipeError:
        # Or the interpreter would complain when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Ending.PIPE_CLOSED
    except Exception as error:
        found = ending_of(error)
        if found is None:
            raise
        tell(_text_of(error))
        return found


def _run(arguments: list[str]) -> int:
    words: list[str] = []
    if arguments[:1] == [STORE]:
        return command_named(STORE)(arguments[1:])
    if arguments[:1] == ["run"] and _END_OF_OPTIONS in arguments:
        place = arguments.index(_END_OF_OPTIONS)
        arguments, words = arguments[:place], arguments[place + 1 :]
    parser = parser_of_command()
    given = parser.parse_args(arguments)
    given.command_words = words
    if given.list_checkpoints_in is not None:
        return list_checkpoints(Path(given.list_checkpoints_in), as_json=False)
    if given.command is None:
        parser.error("say what to do: resumable-sweep --help lists it")
    ending: Ending = given.handler(given)
    return ending


def parser_of_command() -> argparse.ArgumentParser:
    """Return the parser of the command's words up to `--`."""
    parser = argparse.ArgumentParser(
        prog="resumable-sweep",
        description="Run sweeps that go on where they were cut off; show, check, mend and export their results.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--list-checkpoints",
        nargs="?",
        const=".",
        metavar="FOLDER",
        dest="list_checkpoints_in",
        help="list the runs, logs and saved states in a folder",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for add in (add_list, add_show, add_verify, add_stats, add_failed, add_export, add_repair, add_run):
        add(commands)
    # For the list of commands alone: its words are its own to read.
    commands.add_parser(STORE, help=STORE_HELP, add_help=False)
    for command in commands.choices.values():
        # An abbreviation that works today would be ambiguous with the next option.
        command.allow_abbrev = False
    return parser


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
