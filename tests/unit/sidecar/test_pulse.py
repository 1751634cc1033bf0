from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

import pytest

from sweep_sidecar.mirror.pulse import STUCK_AFTER_S, Pulse, cpu_seconds


class Body:
    """A clock, and the CPU time of a thread."""

    def __init__(self) -> None:
        self.now = 0.0
        self.used_s = 0.0
        self.pulse = Pulse(monotonic=lambda: self.now, cpu_s=lambda thread: self.used_s)


@pytest.fixture
def body() -> Body:
    body = Body()
    body.pulse.watch()
    return body


def step(body: Body) -> None:
    body.pulse.beat()


def compute(body: Body) -> None:
    body.used_s += 5


@pytest.mark.parametrize("sign", [step, compute])
def test_one_sign_of_life_in_time_is_enough(body: Body, sign: Callable[[Body], None]) -> None:
    for _ in range(3):
        body.now += STUCK_AFTER_S - 1
        sign(body)
        assert not body.pulse.is_stuck


def test_a_thread_that_neither_steps_nor_computes_is_stuck(body: Body) -> None:
    compute(body)
    assert not body.pulse.is_stuck
    body.now += STUCK_AFTER_S + 1
    assert body.pulse.is_stuck
    body.pulse.beat()
    assert not body.pulse.is_stuck


def test_before_its_beginning_and_after_its_end_nothing_is_stuck() -> None:
    body = Body()
    body.now = STUCK_AFTER_S + 1
    assert not body.pulse.is_stuck
    body.pulse.watch()
    body.pulse.end()
    body.now *= 3
    assert not body.pulse.is_stuck


def test_the_cpu_time_is_that_of_the_other_thread() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        hashlib.sha256(bytes(30_000_000))
        begun.set()
        go_on.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(30)
        used_s = cpu_seconds(thread.ident or 0)
        assert used_s > 0.001
        assert cpu_seconds(thread.ident or 0) - used_s < 0.001  # it waits
    finally:
        go_on.set()
        thread.join()


def test_a_thread_whose_clock_is_read_does_not_end_meanwhile() -> None:
    """The clock of a thread that has ended is memory of somebody else's."""

    def cpu_s(thread: int) -> float:
        assert thread
        ending.start()
        ending.join(0.05)
        assert ending.is_alive()
        return 0.0

    pulse = Pulse(monotonic=lambda: 0.0, cpu_s=cpu_s)
    ending = threading.Thread(target=pulse.end)
    pulse.watch()
    assert not pulse.is_stuck
    ending.join(10)
    assert not ending.is_alive()
