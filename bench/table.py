"""Figures as a table for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def table_of(title: str, figures: list[dict[str, Any]]) -> Table:
    """Return a row for each figure: its value, what a peer has, and the goal it holds or misses."""
    table = Table(title=title, title_justify="left")
    for name, justify in (("figure", "left"), ("value", "right"), ("peer", "right"), ("goal", "right"), ("", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in figures:
        verdict = "" if row["goal"] is None else "holds" if row["holds"] else "[bold red]MISSED[/]"
        value = f"{row['value']} {row['unit']}".strip()
        table.add_row(row["figure"], value, _said(row["peer"]), _said(row["goal"]), verdict)
    return table


def show(title: str, figures: list[dict[str, Any]]) -> None:
    """Print the table, as wide as its longest row where nobody says how wide the terminal is."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table_of(title, figures))


def _said(value: object) -> str:
    return "" if value is None else str(value)
