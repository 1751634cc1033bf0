"""Which folders are checkpoints that count as a whole, and by what they are known to be whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from resumable_sweep.contract.manifest import SUFFIX
from sweep_sidecar.capture.names import fits
from sweep_sidecar.capture.tree import Tree

ORBAX = "orbax"
TORCH_DCP = "torch-dcp"
_ORBAX_MARKER = "_CHECKPOINT_METADATA"
_DCP_MARKER = ".metadata"
_DCP_DATA = "*.distcp"
"""torch.distributed.checkpoint's FileSystemWriter writes `.metadata.tmp` after all `*.distcp`, removes an older
`.metadata`, and renames. It may write over a folder that is whole; until its end the older `.metadata` is there."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFolder:
    """A folder that counts as a whole.

    Parameters
    ----------
    markers:
        The files in it that say it is whole; none of them there = it is not.
    is_marked_last:
        A marker is written after all other files, so that a file younger than it belongs to the next checkpoint.
    manifest:
        The file beside it that lists what must be in it, in place of markers; None = there is none.
    """

    path: str
    markers: tuple[str, ...] = ()
    is_marked_last: bool = False
    manifest: str | None = None


def checkpoint_folders(
    tree: Tree, commit: Sequence[str], *, known: Collection[str], lists: Callable[[str], bool]
) -> dict[str, CheckpointFolder]:
    """Return the folders that count as a whole, none of them inside another; by their path.

    Parameters
    ----------
    commit:
        Patterns of markers, or `orbax`, or `torch-dcp`.
    known:
        Folders that counted as a whole before: one that has lost its marker since is being removed, or written anew.
    lists:
        Whether the file of a path is a manifest that lists what must be in a folder: not all that are named so are.
    """
    found: dict[str, CheckpointFolder] = {}
    for path in tree.folders:
        if path in tree.awaited or (path + SUFFIX in tree.files and lists(path + SUFFIX)):
            found[path] = CheckpointFolder(path=path, manifest=path + SUFFIX)
    for entry in commit:
        for path, markers in _candidates(tree, entry).items():
            before = found.get(path)
            if before is not None and before.manifest:
                continue
            found[path] = CheckpointFolder(
                path=path,
                markers=(*(before.markers if before else ()), *markers),
                is_marked_last=entry != ORBAX and (before is None or before.is_marked_last),
            )
    for path in known:
        if path in tree.folders or not path:
            found.setdefault(path, CheckpointFolder(path=path))
    return {path: folder for path, folder in found.items() if not any(above in found for above in _above(path))}


def folder_of(path: str, folders: Collection[str]) -> str | None:
    """Return which of `folders` a file lies in, None where it is in none of them."""
    return next((above for above in _above(path) if above in folders), None)


def _candidates(tree: Tree, entry: str) -> dict[str, tuple[str, ...]]:
    """Return the folders that an entry of the specification speaks of, with their markers as far as they are there."""
    if entry == ORBAX:
        return {folder: (path,) for path, folder, name in _split(tree.files) if name == _ORBAX_MARKER}
    if entry == TORCH_DCP:
        found: dict[str, tuple[str, ...]] = {}
        for path, folder, name in _split(tree.files):
            if name == _DCP_MARKER or fits(name, _DCP_DATA):
                found[folder] = (path,) if name == _DCP_MARKER else found.get(folder, ())
        return found
    around, _, _ = entry.rpartition("/")
    marked: dict[str, tuple[str, ...]] = {}
    for path, folder, _ in _split(tree.files):
        if fits(path, entry):
            marked[folder] = (*marked.get(folder, ()), path)
    # With `**` a folder above whole ones fits as well: it only contains them.
    containing = {above for folder in marked for above in _above(folder)}
    unmarked = [folder for folder in tree.folders if fits(folder, around)] if around else [""]
    return {folder: marked.get(folder, ()) for folder in {*marked, *unmarked} - containing}


def _split(paths: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    for path in paths:
        folder, _, name = path.rpartition("/")
        yield path, folder, name


def _above(path: str) -> list[str]:
    """Return the folders above a path, the outermost (the snapshot directory itself, "") first."""
    if not path:
        return []
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(len(parts))]
