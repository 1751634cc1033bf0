"""What is watched while a mirror lives: how much time is left, whether it moves, and its numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sweep_sidecar.mirror.grace import Grace
from sweep_sidecar.mirror.metrics import Metrics
from sweep_sidecar.mirror.pulse import Pulse


@dataclass(frozen=True)
class Vitals:
    """One of each, for one life."""

    grace: Grace
    pulse: Pulse
    metrics: Metrics


def vitals_of(*, flush_timeout_s: float, monotonic: Callable[[], float] = time.monotonic) -> Vitals:
    """Return the vitals of a life that begins now; `flush_timeout_s` is what it has to end, once it must."""
    return Vitals(
        Grace(flush_timeout_s=flush_timeout_s, monotonic=monotonic),
        Pulse(monotonic=monotonic),
        Metrics(monotonic=monotonic),
    )
