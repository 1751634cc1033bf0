"""The page on the command line against the command itself."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from resumable_sweep._command.ending import Ending
from resumable_sweep._command.program import parser_of_command

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "command-line.md").read_text()
STOPPED = {130, 143}


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (action for action in parser_of_command()._actions if isinstance(action.choices, dict))
    return dict(action.choices)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings if option.startswith("--")}


def test_exit_codes_are_those_there_are() -> None:
    first_cells = re.findall(r"^\| ([0-9, ]+) \|", section("Exit codes"), re.MULTILINE)
    assert {int(code) for cell in first_cells for code in cell.split(",")} == {int(one) for one in Ending} | STOPPED


def test_every_command_and_option_is_on_the_page_and_none_besides() -> None:
    known = {"--help", "--list-checkpoints"}
    for name, parser in commands().items():
        assert f"| [`{name}`](#" in PAGE
        known |= options_of(parser)
    shown = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", PAGE))
    assert shown - {"--lr", "--seed"} <= known
    assert known - {"--help"} <= shown


def test_every_option_says_what_it_does() -> None:
    for parser in commands().values():
        assert all(action.help for action in parser._actions)
