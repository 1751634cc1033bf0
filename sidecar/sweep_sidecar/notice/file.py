"""The notice file: what asks the program in the pod to stop, by being there."""

from __future__ import annotations

import json
import logging
import os
import threading
from contextlib import suppress
from pathlib import Path

from resumable_sweep.contract.report import NoticeKind
from sweep_sidecar.notice.announcement import Announcement

_LOG = logging.getLogger(__name__)


class NoticeFile:
    """The file at `path`, which the library (`notice_file`) and any other program may look for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._wanted: Announcement | None = None
        self._is_done = True
        self._trouble = ""

    def is_there(self) -> bool:
        """Return whether a program may have seen it, also of an earlier process of this pod's."""
        return self._path.exists()

    def found(self) -> Announcement | None:
        """Return what the file says, None where it is not there or says nothing that is known here."""
        try:
            said = json.loads(self._path.read_bytes())
            kind, deadline = NoticeKind(said["reason"]), said["deadline"]
            announced = Announcement(kind, None if deadline is None else float(deadline))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return announced if kind.is_hard else None

    def show(self, announced: Announcement | None) -> None:
        """Have the file say `announced`, or be gone for None; a failure is said once, and `try_again` does it again."""
        with self._lock:
            self._wanted, self._is_done = announced, False
            self._change()

    def try_again(self) -> None:
        """Do what could not be done when it was asked for: a disk that was full may have room by now."""
        with self._lock:
            if not self._is_done:
                self._change()

    def _change(self) -> None:
        try:
            if self._wanted is None:
                self._path.unlink(missing_ok=True)
            else:
                self._replace(self._wanted)
            self._is_done, self._trouble = True, ""
        except OSError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                _LOG.warning("cannot change %s: %s", self._path, error)

    def _replace(self, announced: Announcement) -> None:
        staged = self._path.with_name(f"{self._path.name}.tmp")
        said = {"reason": announced.kind.value, "deadline": announced.deadline}
        # No fsync: who reads it goes down with the machine.
        file = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(file, "wb") as writing:
            # The experiment may run as another user, and the umask is anybody's.
            with suppress(PermissionError):
                os.fchmod(file, 0o644)
            writing.write(json.dumps(said).encode())
        staged.replace(self._path)
