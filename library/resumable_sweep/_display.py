"""Progress for whoever looks on: one line that is redrawn on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TextIO

from resumable_sweep._rate import Rate
from resumable_sweep.contract import environment as env

REDRAW_S = 0.2
"""Redraws of records and redraws of hand-outs each keep this distance: at most ten a second in all."""
LINE_INTERVAL_S = 30.0
_BAR_CELLS = 20
_BAR_MIN_WIDTH = 60
_DEFAULT_WIDTH = 80
_LONGEST_S = 1000 * 86400.0
_ERASE_TO_END = "\x1b[K"

Style = Literal["bar", "lines"]


class Counts(NamedTuple):
    """What is shown: `total` is None where unknown, `recorded` counts items completed in this run only."""

    total: int | None
    completed: int
    failed: int
    skipped: int
    recorded: int


def style_of(show: bool | None, *, is_terminal: bool, environ: Mapping[str, str]) -> Style | None:
    """Return how to show progress, None for not at all.

    With None for `show` it is a bar on a terminal, and lines in a sweep's pod, whose log somebody may follow.
    """
    if show is False:
        return None
    if is_terminal and environ.get("TERM") != "dumb":
        return "bar"
    return "lines" if show or environ.get(env.SHARD) else None


class Display:
    """Shows progress on `stream` (default: standard error), from any thread.

    It asks `counts` only when it draws, in the thread that told it something, and looks at the clock before it does
    anything else, so that it may be told of every record. What it cannot write it leaves: a stream that fails makes it
    silent. It has no thread of its own, since one would make every `fork` of the program a hazard; so where items take
    less than `REDRAW_S`, what is shown may be behind by the latest of them until the next is handed out.
    """

    def __init__(
        self,
        counts: Callable[[], Counts],
        *,
        show: bool | None = None,
        stream: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        width: Callable[[], int] | None = None,
    ) -> None:
        """`clock` gives seconds, `width` the terminal's number of columns (default: asked of the terminal)."""
        self._counts = counts
        self._stream: TextIO | None = sys.stderr if stream is None else stream
        self._clock = clock
        self._width = width or self._terminal_width
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._item = ""
        style = style_of(show, is_terminal=_is_terminal(self._stream), environ=environ)
        self._style: Style | None = style if self._stream is not None else None
        interval = REDRAW_S if style == "bar" else LINE_INTERVAL_S
        self._interval = interval if self._style else float("inf")
        self._record_due = self._hand_out_due = float("-inf") if self._style else float("inf")
        self._rate = Rate(clock())

    @property
    def style(self) -> Style | None:
        """How progress is shown; None where it is not, or no longer."""
        return self._style

    def start(self) -> None:
        """Show where the sweep stands before its first item."""
        if self._style:
            now = self._clock()
            self._rate = Rate(now)
            self._put_off(now)
            self._draw()

    def handed_out(self, item: str) -> None:
        """Note the item at hand, by its identity."""
        self._item = item
        now = self._clock()
        if now >= self._hand_out_due:
            self._hand_out_due = now + self._interval
            self._put_off(now)
            self._draw()

    def ended(self) -> None:
        """Note that an item was recorded, has failed or was skipped."""
        now = self._clock()
        if now >= self._record_due:
            self._record_due = now + self._interval
            self._put_off(now)
            self._draw()

    def close(self) -> None:
        """Show the last state and leave the line."""
        self._item = ""
        self._draw(end=True)
        self._silence()

    def _put_off(self, now: float) -> None:
        """Put off both kinds of drawing, which lines, saying nothing of the item at hand, do not tell apart."""
        if self._style == "lines":
            self._record_due = self._hand_out_due = now + self._interval

    def _draw(self, *, end: bool = False) -> None:
        if self._style is None or os.getpid() != self._owner:  # a forked child must not draw into its parent's line
            return
        # Who finds another thread drawing has nothing to add, but for the last state.
        if not self._lock.acquire(blocking=end):
            return
        try:
            now, counts = self._clock(), self._counts()
            self._rate.note(now, counts.recorded)
            rate = self._rate.per_second(now, counts.recorded)
            if self._style == "bar":
                text = bar_text(counts, rate=rate, item=self._item, width=self._width() - 1)
                self._write(f"\r{text}{_ERASE_TO_END}" + ("\n" if end else ""))
            else:
                self._write(line_text(counts, rate=rate) + "\n")
        finally:
            self._lock.release()

    def _write(self, text: str) -> None:
        stream = self._stream
        try:
            if stream is not None:
                stream.write(text)
                stream.flush()
        except (OSError, ValueError):  # the terminal is gone, or the stream closed
            self._silence()

    def _silence(self) -> None:
        self._style = None
        self._record_due = self._hand_out_due = float("inf")

    def _terminal_width(self) -> int:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns if self._stream is not None else 0
        except (OSError, ValueError):
            columns = 0
        return columns or _DEFAULT_WIDTH


def bar_text(counts: Counts, *, rate: float, item: str, width: int) -> str:
    """Return the line for a terminal, of at most `width` cells; where that is little, the bar goes first."""
    parts = _parts(counts, rate)
    fraction = _fraction(counts)
    if fraction is not None and width >= _BAR_MIN_WIDTH:
        filled = int(fraction * _BAR_CELLS)
        parts[0] = f"[{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {parts[0]}"
    if item:
        parts.append(f"at {item[: max(0, width)]}")
    return _cut("  ".join(parts), width)


def line_text(counts: Counts, *, rate: float) -> str:
    """Return the plain line."""
    return "resumable_sweep: " + ", ".join(_parts(counts, rate))


def duration_text(seconds: float) -> str:
    """Return a duration as `2d 03:04:05`, without days and hours where there are none."""
    if seconds >= _LONGEST_S:
        return "over 999d"
    days, rest = divmod(round(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days or hours:
        return f"{days}d " * bool(days) + f"{hours:02}:{minutes:02}:{rest:02}"
    return f"{minutes:02}:{rest:02}"


def _parts(counts: Counts, rate: float) -> list[str]:
    fraction = _fraction(counts)
    if fraction is None:
        parts = [f"{counts.completed} done"]
    else:
        parts = [f"{counts.completed} of {counts.total} done ({int(fraction * 100)} %)"]
    parts += [f"{number} {word}" for number, word in ((counts.failed, "failed"), (counts.skipped, "skipped")) if number]
    if rate > 0:
        parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{duration_text(1 / rate)} each")
        if counts.total is not None and (left := counts.total - counts.completed - counts.skipped - counts.failed) > 0:
            parts.append(f"{duration_text(left / rate)} left")
    return parts


def _fraction(counts: Counts) -> float | None:
    if counts.total is None:
        return None
    return min(1.0, (counts.completed + counts.skipped) / counts.total) if counts.total else 1.0


def _cut(text: str, width: int) -> str:
    """Return as much of `text` as fits into `width` cells; what would move the cursor is replaced."""
    cells = [(char if char.isprintable() else "\ufffd") for char in text]
    widths = [_cells_of(char) for char in cells]
    if sum(widths) <= width:
        return "".join(cells)
    used, kept = 0, []
    for char, own in zip(cells, widths, strict=True):
        if used + own > width - 1:
            break
        used += own
        kept.append(char)
    return "".join(kept) + "…" if width > 0 else ""


def _cells_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False
