"""Getting one file from elsewhere: by HTTP with the standard library, by any other scheme with fsspec.

Three answers are kept apart, since only one of them may let a sweep start afresh: the file, that there is none, and
that nobody can tell.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException, InvalidURL
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from resumable_sweep._disk import make_folder, sync_folder, temporary_path, write_at
from resumable_sweep._invalid import SettingsInvalid

ATTEMPTS = 5
FIRST_PAUSE_S = 0.5
_CHUNK_BYTES = 1 << 20
_MISSING = (404, 410)
_FORBIDDEN = (401, 403)
_PASSING = (408, 425, 429)
"""What a server answers where the same request may do better later (RFC 9110, RFC 6585), besides all of 5xx."""
_BACKENDS = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "s3a": "s3fs", "az": "adlfs", "abfs": "adlfs"}
"""The package that teaches fsspec a scheme, for the most usual ones; fsspec names the others itself."""


class SourceInvalid(SettingsInvalid):
    """A source to resume from is no address that can be read here; the message says what to write or to install."""


class SourceUnreachable(OSError):
    """A source to resume from could not be read, so nobody knows what it holds: this is no reason to start afresh."""


class SourceForbidden(SourceUnreachable):
    """The server refuses to say whether there is such a file."""


class _Missing(Exception):
    """There is no such file."""


class _Passing(Exception):
    """It went wrong in a way that may pass; the message says how."""


def download(
    source: str, into: Path, *, timeout_s: float, pause: Callable[[float], None], attempts: int = ATTEMPTS
) -> bool:
    """Bring the file at the URL `source` to `into`, in pieces; return False, with nothing changed, if there is none.

    What may pass (no connection, timeouts, 5xx and the like) is tried `attempts` times, the waits between them
    doubling; `pause` waits for so many seconds. `timeout_s` bounds every single wait for a server, by HTTP only:
    the file systems of fsspec have settings of their own.

    Raises
    ------
    SourceInvalid, SourceUnreachable
    OSError
        Where `into` cannot be written.
    """
    pieces = _http_pieces if source.startswith(("http://", "https://")) else _fsspec_pieces
    wait = FIRST_PAUSE_S
    for attempt in range(1, attempts + 1):
        try:
            _store(pieces(source, timeout_s), into)
        except _Missing:
            return False
        except _Passing as error:
            if attempt == attempts:
                raise SourceUnreachable(f"{shown(source)} could not be read in {attempts} tries: {error}") from error
        else:
            return True
        pause(wait)
        wait *= 2
    raise ValueError(f"attempts must be 1 or more, not {attempts}")


def shown(source: str) -> str:
    """Return `source` as it may appear in messages: without the password or signature that a URL may carry."""
    scheme, separator, rest = source.partition("://")
    if not separator or scheme == "file":
        return source
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def check_address(source: str) -> None:
    """Refuse a URL that cannot be asked for.

    Raises
    ------
    SourceInvalid
    """
    if source.startswith(("http://", "https://")):
        if not source.isascii() or any(char <= " " for char in source):
            raise SourceInvalid(
                f"resume_from={shown(source)!r} holds blanks or letters beyond ASCII: percent-encode it"
            )
        try:
            host = urlsplit(source).hostname
        except ValueError as error:
            raise SourceInvalid(f"resume_from={shown(source)!r} is no URL: {error}") from error
        if not host:
            raise SourceInvalid(f"resume_from={shown(source)!r} names no host: write https://host/folder/file")
    else:
        _filesystem(source)


def _http_pieces(source: str, timeout_s: float) -> Iterator[bytes]:
    # The URL goes out as it was given: decoding and encoding it again would change what a signature was made for.
    request = Request(source, headers={"Accept-Encoding": "identity", "User-Agent": "resumable-sweep"})
    try:
        with urlopen(request, timeout=timeout_s) as answer:
            if answer.status != 200:
                raise SourceUnreachable(f"{shown(source)}: the server answered {answer.status} {answer.reason}")
            promised = answer.headers.get("Content-Length")
            size = 0
            while piece := answer.read(_CHUNK_BYTES):
                size += len(piece)
                yield piece
            # `read` with an amount says nothing where the connection was cut early.
            if promised is not None and size != int(promised):
                raise _Passing(f"the answer ended after {size} of {promised} bytes")
    except HTTPError as error:
        error.close()
        answer_text = f"the server answered {error.code} {error.reason}"
        if error.code in _MISSING:
            raise _Missing from error
        if error.code in _PASSING or error.code >= 500:
            raise _Passing(answer_text) from error
        kind = SourceForbidden if error.code in _FORBIDDEN else SourceUnreachable
        raise kind(f"{shown(source)}: {answer_text}") from error
    except InvalidURL as error:
        raise SourceInvalid(f"resume_from={shown(source)!r} is no URL: {error}") from error
    except SourceUnreachable:
        raise
    except (OSError, HTTPException) as error:
        raise _Passing(str(error) or type(error).__name__) from error


def _fsspec_pieces(source: str, timeout_s: float) -> Iterator[bytes]:
    filesystem, path = _filesystem(source)
    try:
        # A file system object lives as long as the process, and may remember listings from before.
        filesystem.invalidate_cache()
        promised = filesystem.size(path)
        size = 0
        with filesystem.open(path, "rb") as file:
            while piece := file.read(_CHUNK_BYTES):
                size += len(piece)
                yield piece
    except FileNotFoundError as error:
        raise _Missing from error
    except Exception as error:
        # Every file system has errors of its own, and its own retries: once they are used up, ours would add nothing.
        raise SourceUnreachable(f"{shown(source)}: {type(error).__name__}: {error}") from error
    if promised is not None and size != promised:
        raise _Passing(f"the file ended after {size} of {promised} bytes")


def _filesystem(source: str) -> tuple[Any, str]:
    """Return fsspec's file system for `source`, and the path in it."""
    scheme = source.partition("://")[0]
    backend = _BACKENDS.get(scheme, "")
    mend = f"pip install fsspec {backend}".rstrip()
    try:
        # By name, so that nothing takes fsspec for a requirement: it is used where it is there.
        fsspec = import_module("fsspec")
        filesystem, path = fsspec.url_to_fs(source)
    except ImportError as error:
        raise SourceInvalid(f"resume_from={shown(source)!r} cannot be read here ({error}): {mend}") from error
    except ValueError as error:
        raise SourceInvalid(
            f"resume_from={shown(source)!r} cannot be read ({error}): give a path, file://, http://, https:// or a "
            "scheme that fsspec knows"
        ) from error
    except Exception as error:
        raise SourceUnreachable(f"{shown(source)}: {type(error).__name__}: {error}") from error
    return filesystem, str(path)


def _store(pieces: Iterator[bytes], into: Path) -> None:
    make_folder(into.parent)
    temporary = temporary_path(into)
    file = None
    try:
        size = 0
        for piece in pieces:
            if file is None:
                file = _created(temporary)
            write_at(file, piece, size)
            size += len(piece)
        if file is None:
            file = _created(temporary)
        os.fsync(file)
        os.close(file)
        file = None
        os.replace(temporary, into)  # noqa: PTH105 - files change through `os` alone
    except BaseException:
        if file is not None:
            os.close(file)
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    sync_folder(into.parent)


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
