"""Bringing a generation's files into a snapshot directory: all of them, checked, or none."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sweep_sidecar.content import ContentReader
from sweep_sidecar.durable import replace_durably, sync_folder
from sweep_sidecar.log.generation import FileVersion, Generation
from sweep_sidecar.restore_progress import RestoreProgress
from sweep_sidecar.room import check_room, running_out_told

_LOG = logging.getLogger(__name__)


@dataclass
class Placing:
    """Files on their way into `snapshot`; what is not yet checked lies in `private`, on the same file system.

    A generation is fetched whole before its first file gets its place. What of an earlier one is the same is not
    fetched again, and what a killed process has put in place is taken away first: another generation may be restored
    the next time. Where files are `shared_by_group`, the group may do with them what their owner may.
    """

    snapshot: Path
    private: Path
    progress: RestoreProgress
    shared_by_group: bool = False
    _staged: dict[str, FileVersion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in self._placed():
            _remove(self.snapshot / path, below=self.snapshot)
        self.clear()

    def clear(self) -> None:
        """Drop what was fetched."""
        self._staged.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fetch(self, generation: Generation, reader: ContentReader) -> None:
        """Fetch and check every file of a generation.

        Raises
        ------
        CheckpointCorrupt, Unreachable, SnapshotVolumeTooSmall, OSError
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in list(self._staged):
            if not self._staged[path].same_content(generation.files.get(path)):
                del self._staged[path]
                _remove(self._stage(path), below=self._folder)
        wanted = {path: version for path, version in generation.files.items() if path not in self._staged}
        check_room(self._folder, wanted.values())
        size = sum(version.size for version in wanted.values())
        there = sum(version.size for version in self._staged.values())
        _LOG.info("restoring %d files, %d bytes; %d bytes are there", len(wanted), size, there)
        self.progress.plan(size=size + there, there=there)
        paths = {self._stage(path): path for path in wanted}

        def note(target: Path) -> None:
            if self.shared_by_group:
                # The program that wrote it was its owner, and may be another user now than the owner.
                mode = wanted[paths[target]].mode
                target.chmod(mode | (mode & 0o700) >> 3)
            self._staged[paths[target]] = wanted[paths[target]]

        with running_out_told(self._folder, wanted.values()):
            reader.write_files(
                [(wanted[path], target) for target, path in paths.items()],
                staged=self._folder / "piecewise",
                wrote=self.progress.add,
                done=note,
            )

    def place(self) -> None:
        """Give the fetched files their places, durably.

        Raises
        ------
        OSError
        """
        if not self._staged:
            return
        folders = {self.snapshot}
        replace_durably(self._journal, json.dumps(sorted(self._staged)))
        for path in sorted(self._staged):
            target = self.snapshot / path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._stage(path).replace(target)
            folders |= {self.snapshot / parent for parent in PurePosixPath(path).parents}
        for folder in sorted(folders):
            sync_folder(folder)
        shutil.rmtree(self._folder, ignore_errors=True)

    def settle(self) -> None:
        """Forget how the files came, once something else proves that they are in place."""
        self._journal.unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return self.private / "restoring"

    @property
    def _journal(self) -> Path:
        return self.private / "placing.json"

    def _stage(self, path: str) -> Path:
        return self._folder / "files" / path

    def _placed(self) -> list[str]:
        try:
            return list(json.loads(self._journal.read_text()))
        except FileNotFoundError:
            return []


def _remove(file: Path, *, below: Path) -> None:
    """Remove a file, and the folders around it that are empty then: a file may have the name of one now."""
    file.unlink(missing_ok=True)
    for folder in file.parents:
        if folder == below:
            return
        try:
            folder.rmdir()
        except OSError:
            return
