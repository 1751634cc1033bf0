"""The mirror's side of the acknowledgement: what the experiment reads, and the file by which it asks."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
    acknowledgement_path,
    parsed_acknowledgement,
    requests_path,
)

_LOG = logging.getLogger(__name__)


class AcknowledgementFile:
    """Tells the experiment of one attempt what is durable."""

    def __init__(self, snapshot: Path, *, attempt: int) -> None:
        self._path = acknowledgement_path(snapshot)
        self._requests_path = requests_path(snapshot)
        self._attempt = attempt
        self.newest = Acknowledgement(attempt=attempt, generation=None)
        """What the experiment reads at this moment."""

    def open(self) -> None:
        """Make sure that there is an acknowledgement of this attempt: without one nobody would wait for anything.

        What this attempt's mirror said before it was started again stands: it is true for ever.

        Raises
        ------
        OSError
        """
        # The experiment may run as another user, and asks by writing: a file of this mode, whatever the umask.
        with suppress(FileExistsError):
            file = os.open(self._requests_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                os.fchmod(file, 0o666)
            finally:
                os.close(file)
        with suppress(FileNotFoundError, ValueError):
            said = parsed_acknowledgement(self._path.read_bytes())
            if said.attempt == self._attempt:
                self.newest = said
                return
        self._replace(self.newest)

    def requests(self) -> int:
        """Return how often the experiment has asked for a look."""
        try:
            return self._requests_path.stat().st_size
        except FileNotFoundError:
            return 0

    def write(self, said: Acknowledgement) -> None:
        """Say `said`, if it is something new; where that fails, what was said before stands until the next try."""
        if said == self.newest:
            return
        try:
            self._replace(said)
        except OSError as error:
            # A full disk, most likely. To go on mirroring is worth more, and helps whoever waits as well.
            _LOG.warning("cannot write %s: %s", self._path, error)

    def _replace(self, said: Acknowledgement) -> None:
        staged = self._path.with_name(f"{self._path.name}.tmp")
        # No fsync: a machine that goes down takes whoever could read this along, and a torn file is read as none.
        file = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(file, "wb") as writing:
            os.fchmod(file, 0o644)
            writing.write(said.to_json().encode())
        staged.replace(self._path)
        self.newest = said
