"""What a signal's handler must not tear apart: it is held off until that is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType


class Shield:
    """While entered in the main thread, what a handler wants to raise there waits until it is left.

    It may be nested. In other threads it does nothing, since no handler runs in them.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._held_off: Callable[[], None] | None = None

    def __enter__(self) -> None:
        if threading.get_ident() == threading.main_thread().ident:
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if threading.get_ident() == threading.main_thread().ident:
            self._depth -= 1
            if self._held_off is not None:
                self.run_outside(self._held_off)

    @property
    def holds_off(self) -> bool:
        """Whether something waits for the shield to be left."""
        return self._held_off is not None

    def run_outside(self, raising: Callable[[], None]) -> None:
        """Call `raising`, which may raise, now or when the shield is left; of several that wait the last one counts."""
        if self._depth:
            self._held_off = raising
            return
        self._held_off = None
        raising()
