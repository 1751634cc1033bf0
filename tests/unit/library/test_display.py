from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_sweep._display import Counts, Display, bar_text, duration_text, line_text, style_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A display with counts and a clock that the test moves."""

    def __init__(self, stream: TextIO | None = None, *, show: bool | None = None, **environ: str) -> None:
        self.counts = Counts(total=10, completed=4, failed=0, skipped=0, recorded=0)
        self.clock = Clock()
        self.asked = 0
        self.stream = Terminal() if stream is None else stream
        self.display = Display(
            self.ask, show=show, stream=self.stream, environ=environ, clock=self.clock, width=lambda: 100
        )

    def ask(self) -> Counts:
        self.asked += 1
        return self.counts

    def record(self, number: int = 1) -> None:
        counts = self.counts
        self.counts = counts._replace(completed=counts.completed + number, recorded=counts.recorded + number)
        self.display.ended()

    @property
    def drawn(self) -> list[str]:
        """What was drawn so far, without what moves the cursor."""
        assert isinstance(self.stream, io.StringIO)
        return [line.strip() for line in self.stream.getvalue().replace("\x1b[K", "").replace("\n", "\r").split("\r")
                if line.strip()]  # fmt: skip


# Whether and how.


@pytest.mark.parametrize(
    ("show", "is_terminal", "environ", "style"),
    [
        (None, True, {}, "bar"),
        (None, True, {"TERM": "xterm", "NO_COLOR": "1"}, "bar"),
        (None, True, {"TERM": "dumb"}, None),
        (None, False, {}, None),
        (None, False, {"SWEEP_SHARD": "0"}, "lines"),
        (None, False, {"SWEEP_SHARD": ""}, None),
        (None, True, {"SWEEP_SHARD": "0"}, "bar"),
        (True, True, {}, "bar"),
        (True, True, {"TERM": "dumb"}, "lines"),
        (True, False, {}, "lines"),
        (False, True, {"SWEEP_SHARD": "0"}, None),
    ],
)
def test_how_it_is_shown(show: bool | None, is_terminal: bool, environ: dict[str, str], style: str | None) -> None:
    assert style_of(show, is_terminal=is_terminal, environ=environ) == style


def test_what_is_not_shown_asks_nothing_and_writes_nothing() -> None:
    watched = Watched(show=False)
    watched.display.start()
    watched.display.handed_out("a")
    watched.record()
    watched.display.close()
    assert (watched.asked, watched.drawn) == (0, [])


# What is said.


def test_the_bar() -> None:
    counts = Counts(total=80, completed=39, failed=2, skipped=1, recorded=9)
    assert bar_text(counts, rate=3.04, item='{"x":1}', width=120) == (
        '[##########..........] 39 of 80 done (50 %)  2 failed  1 skipped  3.0/s  00:12 left  at {"x":1}'
    )
    assert bar_text(counts, rate=0.0, item="", width=120) == (
        "[##########..........] 39 of 80 done (50 %)  2 failed  1 skipped"
    )


def test_the_line() -> None:
    counts = Counts(total=80, completed=40, failed=0, skipped=0, recorded=9)
    assert line_text(counts, rate=1 / 90) == "resumable_sweep: 40 of 80 done (50 %), 01:30 each, 01:00:00 left"
    assert line_text(counts._replace(total=None), rate=2.0) == "resumable_sweep: 40 done, 2.0/s"
    assert line_text(Counts(0, 0, 0, 0, 0), rate=0.0) == "resumable_sweep: 0 of 0 done (100 %)"
    assert line_text(Counts(1000, 999, 0, 0, 0), rate=0.0).endswith("(99 %)")
    assert line_text(counts._replace(completed=80), rate=1.0) == "resumable_sweep: 80 of 80 done (100 %), 1.0/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00"),
        (59.4, "00:59"),
        (59.6, "01:00"),
        (3600, "01:00:00"),
        (90061, "1d 01:01:01"),
        (864000, "10d 00:00:00"),
        (1e300, "over 999d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


COUNTS = st.builds(
    Counts,
    total=st.none() | st.integers(0, 10**7),
    completed=st.integers(0, 10**7),
    failed=st.integers(0, 99),
    skipped=st.integers(0, 99),
    recorded=st.integers(0, 10**7),
)


@given(COUNTS, st.floats(0, 1e6), st.text(max_size=30), st.integers(0, 130))
def test_no_text_is_wider_than_the_terminal_or_moves_its_cursor(
    counts: Counts, rate: float, item: str, width: int
) -> None:
    text = bar_text(counts, rate=rate, item=item, width=width)
    assert text.isprintable()
    wide = sum(unicodedata.east_asian_width(char) in ("W", "F") for char in text)
    joined = sum(unicodedata.combining(char) != 0 for char in text)
    assert len(text) + wide - joined <= width


# When.


def test_it_starts_with_what_was_replayed_and_ends_with_all() -> None:
    watched = Watched()
    watched.display.start()
    assert watched.drawn == ["[########............] 4 of 10 done (40 %)"]
    for _ in range(6):
        watched.clock.now += 2
        watched.record()
    watched.display.close()
    assert watched.drawn[-1] == "[####################] 10 of 10 done (100 %)  00:02 each"
    assert watched.stream.getvalue().endswith("\n")
    before = watched.stream.getvalue()
    watched.display.handed_out("late")
    watched.display.close()
    assert watched.stream.getvalue() == before


def test_replayed_items_are_not_taken_for_speed() -> None:
    watched = Watched()
    watched.counts = Counts(total=1_000_000, completed=900_000, failed=0, skipped=0, recorded=0)
    watched.display.start()
    watched.clock.now += 10
    watched.record(10)
    assert "1.0/s  1d 03:46:30 left" in watched.drawn[-1]


def test_the_item_at_hand_is_shown_at_once_also_after_a_record() -> None:
    watched = Watched()
    watched.display.start()
    for name in "abc":
        watched.clock.now += 5
        watched.record()
        watched.display.handed_out(name)
        assert watched.drawn[-1].endswith(f"at {name}")


def test_a_storm_of_records_is_drawn_ten_times_a_second_at_most() -> None:
    watched = Watched()
    watched.display.start()
    for number in range(20_000):
        watched.clock.now += 0.0005
        watched.display.handed_out(str(number))
        watched.record()
    assert 90 <= len(watched.drawn) <= 102
    assert watched.asked <= 103


def test_lines_come_every_half_minute_and_at_the_end() -> None:
    watched = Watched(io.StringIO(), show=True)
    watched.display.start()
    for number in range(80):
        watched.display.handed_out(str(number))
        watched.clock.now += 1
        watched.record(0)
    assert len(watched.drawn) == 3
    watched.display.close()
    assert watched.drawn == ["resumable_sweep: 4 of 10 done (40 %)"] * 4
    assert watched.stream.getvalue().count("\n") == 4
    assert not {"\r", "\x1b"} & set(watched.stream.getvalue())


# What must not break the program.


class Failing(Terminal):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "I/O error"), ValueError("closed")])
def test_a_stream_that_fails_is_left_alone_from_then_on(error: Exception) -> None:
    stream = Failing(error)
    watched = Watched(stream)
    for call in (watched.display.start, watched.record, watched.display.close):
        watched.clock.now += 60
        call()
    assert (stream.writes, watched.display.style) == (1, None)


def test_closed_or_missing_standard_error_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    closed = (tmp_path / "x").open("w")
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr("sys.stderr", stream)
        display = Display(lambda: Counts(1, 0, 0, 0, 0), show=True, environ={})
        display.start()
        display.handed_out("a")
        display.ended()
        display.close()


def test_a_forked_child_draws_nothing() -> None:
    watched = Watched()
    watched.display.start()
    before = watched.stream.getvalue()
    child = os.fork()
    if child == 0:
        watched.clock.now += 60
        watched.record()
        watched.display.close()
        os._exit(0 if watched.stream.getvalue() == before else 1)
    assert os.waitpid(child, 0)[1] == 0
    watched.display.close()
    assert watched.stream.getvalue() != before


def test_threads_do_not_wait_for_each_other_nor_mix_their_lines() -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Terminal):
        def write(self, text: str) -> int:
            inside.set()
            assert go_on.wait(30)
            return super().write(text)

    watched = Watched(Slow())
    thread = threading.Thread(target=watched.display.handed_out, args=("first",))
    thread.start()
    assert inside.wait(30)
    watched.clock.now += 60
    watched.record()  # would wait for ever if it waited
    go_on.set()
    thread.join()
    watched.display.close()
    assert len(watched.drawn) == 2


def test_an_interrupt_while_drawing_does_not_lock_up_the_next() -> None:
    stream = Failing(RuntimeError())
    watched = Watched(stream)
    with pytest.raises(RuntimeError):
        watched.display.start()
    stream.error = OSError()
    watched.display.close()
    assert stream.writes == 2


# A real terminal.


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int, Callable[[int], None]]]:
    """A pseudo-terminal: the program's end, the other end, and how to make it so many columns wide."""
    master, slave = pty.openpty()

    def resize(columns: int) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield stream, master, resize
    os.close(master)


def test_on_a_real_terminal_it_fits_whatever_the_width(terminal: Any) -> None:
    stream, master, resize = terminal
    clock = Clock()
    display = Display(lambda: Counts(10, 4, 1, 0, 0), stream=stream, environ={"TERM": "xterm"}, clock=clock)
    assert display.style == "bar"
    seen = []
    for columns in (100, 30, 0):
        resize(columns)
        clock.now += 1
        display.handed_out("x" * 200)
        seen.append(os.read(master, 10_000).decode())
    assert [len(text.strip("\r").removesuffix("\x1b[K")) for text in seen] == [99, 29, 79]
    assert seen[1] == "\r4 of 10 done (40 %)  1 faile…\x1b[K"
    display.close()
    assert os.read(master, 10_000).decode().endswith("\x1b[K\r\n")
