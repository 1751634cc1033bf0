"""What holds for all tests on real kubelets."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest


@pytest.fixture(scope="session", autouse=True)
def _end_in_order() -> Iterator[None]:
    """Let SIGTERM end the session as Ctrl+C does: fixtures are torn down, and no cluster is left running."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)
