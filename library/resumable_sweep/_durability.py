"""Waiting until the pod's sidecar has brought what is on this machine's disk into the store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from resumable_sweep.contract.acknowledgement import (
    Acknowledgement,
    AcknowledgementNewer,
    acknowledgement_path,
    parsed_acknowledgement,
    requests_path,
)

POLL_S = 0.05
SAY_EVERY_S = 30.0
_READ_ANEW_S = 1.0
"""A file that was replaced twice within a tick of the kernel's clock may look like the first one: it is read again
after so long even where it seems unchanged."""

_Fingerprint = tuple[int, int, int]


class NotDurable(TimeoutError):
    """A record is on this machine's disk and not known to be in the store; the message says why, and what then."""


class Acknowledgements:
    """What the sidecar beside this program says of the files in `snapshot_dir`; None = there is no such directory.

    It may be asked from any thread.
    """

    def __init__(
        self,
        snapshot_dir: Path | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._snapshot_dir = snapshot_dir
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._newest: Acknowledgement | None = None
        self._fingerprint: _Fingerprint | None = None
        self._read_at = 0.0
        self._proved: dict[str, int] = {}
        """By path, the generation with which a look was acknowledged that began after this process had written."""

    @property
    def there(self) -> bool:
        """Whether a sidecar mirrors the directory. In a pod it says so before the program starts."""
        return self._snapshot_dir is not None and acknowledgement_path(self._snapshot_dir).exists()

    @property
    def generation(self) -> int:
        """Sequence number of the newest generation in the store, -1 where none is known."""
        newest = self._read()
        return -1 if newest is None or newest.generation is None else newest.generation

    def wait(
        self,
        path: Path,
        size_bytes: int,
        *,
        timeout_s: float | None = None,
        stop: Callable[[], bool],
        report: Callable[[str], None],
        after_generation: int | None = None,
        sha256: str | None = None,
    ) -> None:
        """Return once the store has the first `size_bytes` of `path`, at once where no sidecar is there.

        The first wait for a path rests only on a look of the sidecar that began after the call: what was acknowledged
        before may be of a file that has been written anew since.

        Parameters
        ----------
        path:
            An append-only file, or one that is not changed while this waits; all of the bytes are on disk.
        timeout_s:
            Most seconds to wait, None = for ever.
        stop:
            Returns whether the program is to end: nobody waits then.
        report:
            Gets a sentence every 30 s of waiting.
        after_generation:
            Where the file was rewritten within this process: the `generation` of that time. What was acknowledged
            until then does not count.
        sha256:
            Digest (hex) of the file, where it is one that is replaced as a whole: its size alone says nothing.

        Raises
        ------
        NotDurable
            At the limit, when `stop()` turns true, or where waiting is in vain: the sidecar has stopped for good, it
            must not store what it sees, or `path` is not in the snapshot directory.
        """
        if not self.there and self._newest is None:
            return  # but one that was there and is gone is waited for: to wipe the directory makes nothing durable
        name = self._name_of(path)
        since = self._clock()
        proved = self._proved.get(name)
        is_known = proved is not None and (after_generation is None or proved > after_generation)

        def covers(newest: Acknowledgement, request: int | None) -> bool:
            durable = newest.files.get(name)
            return (
                durable is not None
                and durable.size_bytes >= size_bytes
                and sha256 in (None, durable.sha256)
                and (is_known or (request is not None and newest.requests >= request))
            )

        newest = self._read()
        if newest is not None and covers(newest, None):
            return
        what = f"{path.name}, up to byte {size_bytes},"
        request = self._ask_for_a_look(what)
        say_at = since + SAY_EVERY_S
        while True:
            newest = self._read()
            if newest is not None:
                if covers(newest, request):
                    self._proved[name] = -1 if newest.generation is None else newest.generation
                    return
                _refuse_what_is_in_vain(newest, request, what)
            waited_s = self._clock() - since
            why = f": {newest.message}" if newest is not None and newest.message else ""
            if stop():
                raise NotDurable(f"{what} is on disk, but not yet in the store, and the sweep is asked to stop{why}")
            if timeout_s is not None and waited_s >= timeout_s:
                raise NotDurable(f"{what} is on disk, but after {waited_s:.1f} s not yet in the store{why}")
            if since + waited_s >= say_at:
                say_at += SAY_EVERY_S
                report(f"{what} is on disk and not in the store yet, waiting for {waited_s:.0f} s{why}")
            self._sleep(POLL_S if timeout_s is None else min(POLL_S, timeout_s - waited_s))

    def _name_of(self, path: Path) -> str:
        assert self._snapshot_dir is not None
        # The folder only: a link in the place of the file is not mirrored, whatever it leads to.
        found = path.parent.resolve() / path.name
        root = self._snapshot_dir.resolve()
        if not found.is_relative_to(root):
            raise NotDurable(
                f"{path} is not in the snapshot directory {self._snapshot_dir}, which alone is brought into the store: "
                "give the sweep a checkpoint_path inside of it"
            )
        return found.relative_to(root).as_posix()

    def _ask_for_a_look(self, what: str) -> int:
        """Return the number of the request: a look that knows it began after all that this process has written."""
        assert self._snapshot_dir is not None
        path = requests_path(self._snapshot_dir)
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                os.write(file, b".")
                return os.fstat(file).st_size
            finally:
                os.close(file)
        except OSError as error:
            raise NotDurable(f"{what} is on disk, but the sidecar cannot be asked to store it: {error}") from error

    def _read(self) -> Acknowledgement | None:
        """Return the newest acknowledgement, None where none has been read yet."""
        if self._snapshot_dir is None:
            return None
        path = acknowledgement_path(self._snapshot_dir)
        with self._lock:
            # Torn or absent (a machine that went down): what was acknowledged before is true still.
            with suppress(FileNotFoundError):
                status = path.stat()
                fingerprint = (status.st_ino, status.st_size, status.st_mtime_ns)
                now = self._clock()
                if fingerprint != self._fingerprint or now - self._read_at >= _READ_ANEW_S:
                    self._read_at = now
                    self._fingerprint = fingerprint
                    self._newest = _parsed(path.read_bytes()) or self._newest
            return self._newest


def _parsed(text: bytes) -> Acknowledgement | None:
    try:
        return parsed_acknowledgement(text)
    except AcknowledgementNewer as error:
        raise NotDurable(str(error)) from error
    except ValueError:
        return None


def _refuse_what_is_in_vain(newest: Acknowledgement, request: int, what: str) -> None:
    if newest.stopped == "Superseded":
        raise NotDurable(
            f"{what} is on disk, but another attempt has taken over this shard ({newest.message}): what this one "
            "records is not counted any more, and those items run again there"
        )
    if newest.stopped:
        raise NotDurable(
            f"{what} is on disk, but the sidecar stores nothing more, {newest.stopped}: "
            f"{newest.message or 'the attempt has come to its end'}"
        )
    if newest.refused and newest.requests >= request:
        raise NotDurable(f"{what} is on disk, but the sidecar must not store it, {newest.refused}: {newest.message}")
