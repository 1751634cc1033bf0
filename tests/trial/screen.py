"""What the demo shows: a live table on a terminal, a line for every change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from trial.sweep import Sweep

if TYPE_CHECKING:
    from trial.verdict import Verdict

_COLUMNS = ("phase", "done", "total", "running", "reclaims", "lost", "eta")


class Screen:
    """Writes to the terminal."""

    def __init__(self) -> None:
        # Tables are laid out for a screen of this width where there is none.
        width = None if Console().is_terminal else 120
        self._console = Console(highlight=False, soft_wrap=True, width=width)
        self._started = time.monotonic()
        self._told: set[str] = set()

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        self._console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/dim]  {text}")

    def alarm(self, text: str) -> None:
        """Print a line about something that was done to the sweep."""
        self.say(f"[bold red]✂ {text}[/bold red]")

    def agreed(self, question: str) -> bool:
        """Ask on the terminal; anything but yes is no."""
        try:
            return self._console.input(f"{question} \\[y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            self.say("nobody to ask here: --yes agrees beforehand")
            return False

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Print a line before and after a piece of work."""
        self.say(f"{text} ...")
        began = time.monotonic()
        yield
        self.say(f"{text}: done in {time.monotonic() - began:.1f} s")

    def follow(self, sweep: Sweep, *, until: Callable[[], bool], minutes: float) -> None:
        """Show the sweep until a condition holds.

        Raises
        ------
        TimeoutError
            After so many minutes.
        """
        deadline = time.monotonic() + 60 * minutes
        last: tuple[Any, ...] = ()
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            while not until():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"sweep {sweep.name} was not there after {minutes:.0f} min: {sweep.status()}")
                status = sweep.status()
                self._tell_events(sweep)
                if self._console.is_terminal:
                    live.update(_picture(sweep, status))
                else:
                    seen = tuple(status.get(column) for column in ("phase", "running", "reclaims"))
                    tens = status.get("done", 0) // 10
                    if (*seen, tens) != last:
                        last = (*seen, tens)
                        self.say(_line(sweep, status))
                time.sleep(0.5)
        self._tell_events(sweep)
        self.say(_line(sweep, sweep.status()))

    def verdict(self, verdict: Verdict, report: Path) -> None:
        """Print the end of the story."""
        table = Table(title="what the reclaims cost", title_justify="left")
        for column in ("how", "node", "shard", "signal that won", "to created", "to first new item"):
            table.add_column(column, overflow="fold")
        for each in verdict.reclaims:
            seconds = (_seconds(each.to_created_s), _seconds(each.to_resumed_s))
            table.add_row(each.how, each.node, str(each.shard), each.signal, *seconds)
        self._console.print(table)
        self.say(
            f"items: {verdict.items_recorded} of {verdict.items_total} recorded, "
            f"{verdict.items_duplicated} duplicated, "
            f"{verdict.items_rerun} run again, {verdict.items_lost} lost"
        )
        equal = "[bold green]equal[/bold green]" if verdict.results_equal else "[bold red]NOT EQUAL[/bold red]"
        self.say(f"merged results and those of the undisturbed run are {equal}")
        self.say(f"{verdict.wall_s:.0f} s from apply to Complete; report: {report}")

    def _tell_events(self, sweep: Sweep) -> None:
        for event in sweep.events():
            name = event["metadata"]["name"]
            if name not in self._told and event["reason"] != "AttemptCreated":
                self._told.add(name)
                colour = "yellow" if event["type"] == "Warning" else "cyan"
                self.say(f"[{colour}]{event['reason']}[/{colour}] {event['message']}")


def _line(sweep: Sweep, status: dict[str, Any]) -> str:
    words = [f"{column.upper()} {status[column]}" for column in _COLUMNS if status.get(column) not in (None, "")]
    return f"{sweep.name}: {'  '.join(words) or 'not yet seen by the operator'}"


def _picture(sweep: Sweep, status: dict[str, Any]) -> RenderableType:
    overview = Table(box=None, pad_edge=False)
    overview.add_column("NAME")
    for column in _COLUMNS:
        overview.add_column(column.upper())
    overview.add_row(sweep.name, *(str(status.get(column, "")) for column in _COLUMNS))
    pods = Table(box=None, pad_edge=False)
    for column in ("POD", "SHARD", "ATTEMPT", "NODE", "STATUS"):
        pods.add_column(column)
    for pod in sweep.pods():
        labels = pod["metadata"]["labels"]
        pods.add_row(
            pod["metadata"]["name"],
            labels["resumable.dev/shard"],
            labels["resumable.dev/attempt"],
            pod["spec"].get("nodeName", ""),
            pod["status"].get("phase", ""),
        )
    return Group("", overview, "", pods)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
