from __future__ import annotations

from sweep_operator.runtime.attention import LONGEST_PAUSE_SECONDS, Attention


class Clocks:
    def __init__(self) -> None:
        self.monotonic = 100.0
        self.wall = 1_790_000_000.0
        self.attention = Attention(clock=lambda: self.monotonic, wall=lambda: self.wall)

    def since_after(self, seconds: float, *, wall: float | None = None) -> float:
        self.monotonic += seconds
        self.wall += seconds if wall is None else wall
        return self.attention.since()


def test_it_hears_from_the_start_while_it_is_looked_at() -> None:
    clocks = Clocks()
    start = clocks.wall
    assert {clocks.since_after(LONGEST_PAUSE_SECONDS) for _ in range(20)} == {start}


def test_after_a_pause_it_begins_anew() -> None:
    clocks = Clocks()
    assert clocks.since_after(LONGEST_PAUSE_SECONDS + 0.1) == clocks.wall
    again = clocks.wall
    assert clocks.since_after(1) == again


def test_a_machine_that_slept_stood_still_although_one_clock_does_not_know() -> None:
    clocks = Clocks()
    assert clocks.since_after(0, wall=60) == clocks.wall
    assert clocks.since_after(60, wall=0) == clocks.wall


def test_what_was_not_understood_is_a_pause() -> None:
    clocks = Clocks()
    clocks.since_after(1)
    clocks.attention.lost()
    lost_at = clocks.wall
    assert clocks.since_after(1) == lost_at


def test_a_clock_that_was_set_back_leaves_it_no_time_that_is_still_to_come() -> None:
    clocks = Clocks()
    assert clocks.since_after(1, wall=-3600) == clocks.wall
    again = clocks.wall
    assert clocks.since_after(1) == again
