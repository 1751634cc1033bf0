"""Global random states that go with a sweep's records: each entry that ends an item has those that held then."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress

from resumable_sweep._opening import CheckpointFellBack, Opened
from resumable_sweep._random_state import captured_state, restore_state
from resumable_sweep._side_files import SideFile, SideFileDamaged, side_files_in
from resumable_sweep._warning import warn_program


class RandomKeeping:
    """Saves the global random states beside the log, and on starting restores those of the last entry with some."""

    def __init__(self, opened: Opened) -> None:
        self._files = opened.files
        self._lock = threading.Lock()
        self._kept: list[SideFile] = []
        """Those whose files may be there still, in the order in which they were saved."""
        for _, offset, size in reversed(opened.log.scan.with_files):
            for state in side_files_in(json.loads(opened.log.read(offset, size)).get("random_state")):
                self._restore(state)
                return

    def save(self) -> SideFile:
        """Save the states of now, durably, for an entry that is still to be written."""
        with self._lock:
            state = self._files.keep(captured_state(), "json")
            if not self._kept or self._kept[-1] != state:
                self._kept.append(state)
            return self._kept[-1]

    def drop_before(self, state: SideFile) -> None:
        """Remove what was saved before `state`, whose entry is on disk: those of the newest are all a resume needs."""
        with self._lock:
            place = next((place for place, kept in enumerate(self._kept) if kept is state), 0)
            older, self._kept = self._kept[:place], self._kept[place:]
            for one in older:
                # Equal states are one file.
                if one not in self._kept:
                    with suppress(OSError):
                        os.unlink(self._files.path_of(one))  # noqa: PTH108 - files change through `os` alone

    def _restore(self, state: SideFile) -> None:
        try:
            restore_state(bytes(self._files.fetch(state)))
            self._kept.append(state)
        except SideFileDamaged as problem:
            text = f"the random states cannot be restored, they stay as the program has set them: {problem}"
            warn_program(text, CheckpointFellBack)
