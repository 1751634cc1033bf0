"""Global random states that go with a sweep's records: each record has the one that held when it was made."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress

from resumable_sweep._opening import CheckpointFellBack, Opened
from resumable_sweep._random_state import captured_state, restore_state
from resumable_sweep._side_files import SideFile, SideFileDamaged, side_files_in


class RandomKeeping:
    """Saves the global random states beside the log, and on starting restores those of the last record."""

    def __init__(self, opened: Opened) -> None:
        self._files = opened.files
        self._newest: SideFile | None = None
        for _, offset, size in reversed(opened.log.scan.with_files):
            for state in side_files_in(json.loads(opened.log.read(offset, size)).get("random_state")):
                self._restore(state)
                return

    def saved(self) -> SideFile:
        """Save the states of now, durably."""
        return self._files.keep(captured_state(), "json")

    def drop_all_but(self, state: SideFile | None) -> None:
        """Remove the states of the record before: those of the newest are all that a resume needs."""
        before, self._newest = self._newest, state
        if before is not None and before != state:
            with suppress(OSError):
                self._files.path_of(before).unlink()

    def _restore(self, state: SideFile) -> None:
        try:
            restore_state(bytes(self._files.fetch(state)))
            self._newest = state
        except SideFileDamaged as problem:
            text = f"the random states cannot be restored, they stay as the program has set them: {problem}"
            warnings.warn(text, CheckpointFellBack, stacklevel=6)
