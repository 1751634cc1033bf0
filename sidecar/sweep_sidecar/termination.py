"""A container's last words, as the kubelet reads them once it has ended: whole at any moment, also after SIGKILL."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from resumable_sweep.contract.outcome import MESSAGE_LIMIT_BYTES, MESSAGE_PATH, Outcome

_LOG = logging.getLogger(__name__)


class TerminationMessage:
    """The file that the kubelet has made for them; where there is none, there is nobody to read it."""

    def __init__(self, path: Path = Path(MESSAGE_PATH)) -> None:
        self._path = path
        self._size = 0
        self._failed = False
        self._lock = threading.Lock()

    def write(self, outcome: Outcome, *, limit_bytes: int = MESSAGE_LIMIT_BYTES) -> None:
        """Replace what the file says; a failure is logged, once."""
        data = outcome.to_json(limit_bytes=limit_bytes).encode()
        with self._lock:
            try:
                # A mount of its own, which cannot be renamed over. Truncated first it would be empty for a moment, in
                # which a kill may come: one write over what is there, and blanks, which JSON allows, over the rest.
                descriptor = os.open(self._path, os.O_WRONLY)
                try:
                    os.pwrite(descriptor, data.ljust(self._size), 0)
                finally:
                    os.close(descriptor)
                self._size = max(self._size, len(data))
            except FileNotFoundError:
                return
            except OSError as error:
                if not self._failed:
                    _LOG.warning("cannot write %s: %s", self._path, error)
                self._failed = True
