"""When to save the state of a long run: every so many steps, or every so many seconds."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._state import State, save_state


class Checkpointer:
    """Saves a state at every step that is due, as the checkpoint at `path`.

    Parameters
    ----------
    path:
        As `save_state` takes it.
    every_steps:
        Save at each call of `step` that makes so many since the last save.
    every_seconds:
        Save at the first call of `step` so many seconds after the last save ended; the first interval starts now.
        Where both are given, whichever comes first counts.
    keep:
        How many checkpoints to keep in all.
    save:
        Function in the place of `save_state`, called like it.
    clock:
        Monotonic seconds.

    Raises
    ------
    SettingsInvalid
        Where neither interval is given, or one is not above 0.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every_steps: int | None = None,
        every_seconds: float | None = None,
        keep: int = 2,
        save: Callable[..., object] = save_state,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if every_steps is None and every_seconds is None:
            raise SettingsInvalid("nothing says when to save: pass every_steps= or every_seconds=")
        if every_steps is not None and (not isinstance(every_steps, int) or every_steps < 1):
            raise SettingsInvalid(f"every_steps={every_steps!r} must be a whole number of 1 or more")
        if every_seconds is not None and not 0 < every_seconds < math.inf:
            raise SettingsInvalid(f"every_seconds={every_seconds!r} must be seconds, more than 0")
        self._path = path
        self._every_steps = math.inf if every_steps is None else every_steps
        self._every_seconds = math.inf if every_seconds is None else every_seconds
        self._keep = keep
        self._save = save
        self._clock = clock
        self._steps = 0
        self._saved_at = clock()
        self.save_seconds: float | None = None
        """How long the last save took; None before the first."""

    def step(self, state: State, extra: Mapping[str, Any] | None = None) -> bool:
        """Count a step, and save `state` if that is due; return whether it was saved.

        What is costly to make is given as a function that writes it: it is called only when it is due.

        Raises
        ------
        As the function that saves; the step counts, and the next one tries again.
        """
        self._steps += 1
        if self._steps < self._every_steps and self._clock() - self._saved_at < self._every_seconds:
            return False
        self.save(state, extra)
        return True

    def save(self, state: State, extra: Mapping[str, Any] | None = None) -> None:
        """Save `state` now; the intervals start anew."""
        began = self._clock()
        self._save(self._path, state, extra, keep=self._keep)
        self._saved_at = self._clock()
        self._steps = 0
        self.save_seconds = self._saved_at - began
