"""What a sweep resumes from: a file here or elsewhere, brought to this machine and held against its manifest."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from urllib.parse import unquote

from resumable_sweep._disk import copy_aside, corrupt_path
from resumable_sweep._foreign import foreign_damage, head_of, is_mime
from resumable_sweep._foreign.mime_progress import (
    PENDING,
    PREVIOUS,
    manifest_in,
    previous_path,
)
from resumable_sweep._remote import (
    SourceForbidden,
    SourceInvalid,
    SourceUnreachable,
    check_address,
    download,
    shown,
)
from resumable_sweep.contract.log_format import LogInvalid
from resumable_sweep.contract.manifest import SUFFIX, manifest_path, unreadable

TIMEOUT_S = 30.0
_RECHECK_S = 1.0
_CHUNK_BYTES = 1 << 20
_BESIDE_PROGRESS = (PENDING + SUFFIX, PREVIOUS, PREVIOUS + SUFFIX)
"""What `write_mime_progress` leaves beside a file, when it is cut off or for later."""
_LOG_START = b'{"kind":"header"'


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A resume source on this machine: `origin` names it in messages, `path` is the file to read.

    `damage` says why `path` is not what its writer left, None where it is, or where nobody can tell. Of a damaged
    progress file of mime-engine's `older` is the newest state before it that is whole; of a damaged log of this
    library every line that verifies is still good.
    """

    origin: str
    path: Path
    damage: str | None = None
    older: Path | None = None


def fetched(
    source: str | os.PathLike[str],
    into: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched | None:
    """Bring the resume source, a path or URL, to this machine; None where there is no such file: a fresh start.

    A file of this machine is read where it lies. Any other comes to `into`, and what belongs to it beside that:
    `timeout_s` bounds each wait for a server, `pause` waits for so many seconds between tries. What does not fit its
    manifest is fetched a second time before it counts as damaged, for its writer may have been between the two.

    Raises
    ------
    SourceInvalid
        Where `source` is no address that can be read here.
    SourceUnreachable
        Where nobody can tell whether there is such a file, or what it holds.
    LogInvalid
        Where it or its manifest is of a newer schema.
    OSError
        Where `into` cannot be written.
    """
    text = os.fspath(source)
    if is_local(text):
        return _found_here(text, pause=pause)
    check_address(text)
    for is_last in (False, True):
        # The manifest first: a log that grows in between still begins with what the manifest speaks of.
        _bring_beside(text, SUFFIX, into, timeout_s=timeout_s, pause=pause)
        if not download(text, into, timeout_s=timeout_s, pause=pause):
            return None
        damage = damage_of(into)
        if not _is_log(head_of(into)) and (damage is not None or not manifest_path(into).exists()):
            for suffix in _BESIDE_PROGRESS:
                _bring_beside(text, suffix, into, timeout_s=timeout_s, pause=pause)
            damage = damage_of(into)
        if damage is None or is_last:
            break
        pause(_RECHECK_S)
    return _judged(shown(text), into, damage)


def fetched_beside(
    source: str | os.PathLike[str],
    suffix: str,
    into: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    pause: Callable[[float], None] = time.sleep,
) -> Path | None:
    """Return where the file lies on this machine whose address is `source` with `suffix` added; None where it is none.

    A manifest that the server keeps to itself counts as none.

    Raises
    ------
    SourceInvalid, SourceUnreachable
    OSError
        Where `into` cannot be written.
    """
    text = os.fspath(source)
    if is_local(text):
        return _path_of_file(Path(f"{local_path(text)}{suffix}"))
    check_address(text)
    found = _downloaded_beside(text, suffix, into, timeout_s=timeout_s, pause=pause)
    return into if found else None


def is_local(source: str) -> bool:
    """Return whether `source` is a path or a `file://` URL."""
    scheme, separator, _ = source.partition("://")
    return not separator or scheme == "file"


def local_path(source: str | os.PathLike[str]) -> Path:
    """Return the path that a path or `file://` URL names.

    The rest of such a URL is taken as it stands, since `SWEEP_RESUME_FROM` is written unencoded; only where no such
    file exists is it also read as percent-encoded, the form that `Path.as_uri` gives.

    Raises
    ------
    SourceInvalid
        Where it is another URL, or names no absolute path.
    """
    text = os.fspath(source)
    if not is_local(text):
        raise SourceInvalid(f"{shown(text)!r} is no path and no file:// URL")
    _, separator, rest = text.partition("://")
    if not separator:
        return Path(text).absolute()
    rest = rest.removeprefix("localhost")
    if not rest.startswith("/"):
        raise SourceInvalid(f"resume_from={text!r} names no absolute path: write file:///folder/file")
    plain, decoded = Path(rest), Path(unquote(rest))
    return decoded if decoded.exists() and not plain.exists() else plain


def address_beside(source: str, suffix: str) -> str:
    """Return the URL of the file beside that at `source` whose name has `suffix` added, in front of any query."""
    if not source.startswith(("http://", "https://")):
        return source + suffix
    path, mark, query = source.partition("?")
    return f"{path}{suffix}{mark}{query}"


def damage_of(path: Path) -> str | None:
    """Return why the checkpoint at `path` is not what its writer left, None where it is or nobody can tell.

    Of a log of this library the manifest beside it vouches for the first bytes, for a log grows; of any other file
    for all of it. Lines of a log are not looked at: they carry checks of their own.

    Raises
    ------
    LogInvalid
        Where it or its manifest is of a newer schema.
    """
    text = _content(manifest_path(path))
    stated = None if text is None else manifest_in(text)
    if stated is not None and (why := unreadable(stated)) is not None:
        raise LogInvalid(f"{path}: {why}")
    if is_mime(path):
        return foreign_damage(path)
    if text is not None and stated is None:
        return f"the manifest of {path.name} cannot be read"
    size = path.stat().st_size
    if stated is not None:
        if size < stated.size_bytes or (size > stated.size_bytes and not _is_log(head_of(path))):
            return f"{path.name} has {size} bytes, its manifest says {stated.size_bytes}"
        if _sha256_of_first(stated.size_bytes, path) != stated.sha256:
            return f"{path.name} does not hash to what its manifest says"
    return foreign_damage(path)


def keep_aside(damaged: Path, beside: Path) -> Path:
    """Copy a damaged file to the first free name `<beside>.corrupt-N`, and return that."""
    kept = corrupt_path(beside)
    copy_aside(damaged, kept)
    return kept


def _found_here(text: str, *, pause: Callable[[float], None]) -> Fetched | None:
    try:
        path = _path_of_file(local_path(text))
        if path is None:
            return None
        damage = damage_of(path)
        if damage is not None:
            pause(_RECHECK_S)
            damage = damage_of(path)
        return _judged(text, path, damage)
    except (SourceInvalid, SourceUnreachable):
        raise
    except OSError as error:
        raise SourceUnreachable(f"{text} cannot be read: {error.strerror or error}") from error


def _path_of_file(path: Path) -> Path | None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SourceUnreachable(f"{path} cannot be read: {error.strerror}") from error
    if not S_ISREG(mode):
        raise SourceInvalid(f"resume_from={str(path)!r} is no file: name the log or progress file itself")
    return path


def _judged(origin: str, path: Path, damage: str | None) -> Fetched:
    older = previous_path(path)
    is_whole = (
        damage is not None
        and older.exists()
        # Nobody vouches for one without a manifest: it is what a kill left half made.
        and manifest_path(older).exists()
        and damage_of(older) is None
    )
    return Fetched(origin=origin, path=path, damage=damage, older=older if is_whole else None)


def _bring_beside(source: str, suffix: str, into: Path, *, timeout_s: float, pause: Callable[[float], None]) -> None:
    """Bring the file whose name has `suffix` added to beside `into`; where there is none, there is none here either."""
    target = into.with_name(into.name + suffix)
    if not _downloaded_beside(source, suffix, target, timeout_s=timeout_s, pause=pause):
        with suppress(FileNotFoundError):
            os.unlink(target)  # noqa: PTH108 - files change through `os` alone


def _downloaded_beside(
    source: str, suffix: str, target: Path, *, timeout_s: float, pause: Callable[[float], None]
) -> bool:
    try:
        return download(address_beside(source, suffix), target, timeout_s=timeout_s, pause=pause)
    except SourceForbidden:
        # A signature is made for one file alone, and a store that may not be listed answers so for what is missing.
        # Results without their side files would be none, so those are asked for in earnest.
        if suffix == SUFFIX or suffix in _BESIDE_PROGRESS:
            return False
        raise


def _is_log(head: bytes) -> bool:
    return head.startswith(_LOG_START)


def _sha256_of_first(size: int, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size and (piece := file.read(min(size, _CHUNK_BYTES))):
            digest.update(piece)
            size -= len(piece)
    return digest.hexdigest()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
