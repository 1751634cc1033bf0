"""What a sweep runs with: the program's own parameters, and where it gave none the environment's."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from resumable_sweep._invalid import SettingsInvalid as SettingsInvalid
from resumable_sweep._items import FileSource, ItemSource, Key, items_of_file
from resumable_sweep.contract import environment as env

DEFAULT_LOG = "results.jsonl"
PROGRESS_SUFFIX = ".progress.json"
OnError = Literal["finish", "raise", "ignore"]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of `ResumableSweep` as the program gave them; they are described there."""

    items: Iterable[Any] | None = None
    key: Key | None = None
    checkpoint_path: str | os.PathLike[str] | None = None
    resume_from: str | os.PathLike[str] | None = None
    snapshot_dir: str | os.PathLike[str] | None = None
    shard: tuple[int, int] | None = None
    run_id: str | None = None
    max_attempts: int = 3
    on_error: OnError = "finish"
    checkpoint_every: int | None = None
    checkpoint_seconds: float | None = None
    durable_timeout: float | None = None
    lock_timeout: float = 0.0
    grace: float | None = None
    notice_file: str | os.PathLike[str] | None = None
    progress_json: str | os.PathLike[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a sweep needs to know; `log_path` is absolute, times are in seconds."""

    items: ItemSource
    log_path: Path
    snapshot_dir: Path | None
    resume_from: str | os.PathLike[str] | None
    run_id: str | None
    attempt: int | None
    shard: int
    shards: int
    host: str
    max_attempts: int
    on_error: OnError
    checkpoint_every: int | None
    checkpoint_seconds: float | None
    durable_timeout: float | None
    lock_timeout: float
    grace: float | None
    notice_file: Path | None
    progress_json: Path | None


def settings_of(given: Parameters, *, environ: Mapping[str, str]) -> Settings:
    """Return the settings that the parameters and, where they are None, the environment ask for.

    Variables that are set to nothing count as absent.

    Raises
    ------
    SettingsInvalid, ItemsInvalid
        Where something is missing or contradicts itself.
    """
    environ = {name: value for name, value in environ.items() if value}
    _check_numbers(given)
    shard, shards = _shard(given.shard, environ)
    attempt = environ.get(env.ATTEMPT)
    snapshot_dir = given.snapshot_dir or environ.get(env.SNAPSHOT_DIR)
    notice_file = given.notice_file or environ.get(env.NOTICE_FILE)
    return Settings(
        items=_items(given, shard=shard, shards=shards, environ=environ),
        log_path=_log_path(given.checkpoint_path, snapshot_dir),
        snapshot_dir=None if snapshot_dir is None else Path(snapshot_dir).absolute(),
        resume_from=given.resume_from if given.resume_from is not None else environ.get(env.RESUME_FROM),
        run_id=given.run_id or environ.get(env.RUN_ID),
        attempt=_whole_number(env.ATTEMPT, attempt) if attempt else None,
        shard=shard,
        shards=shards,
        host=socket.gethostname(),
        max_attempts=given.max_attempts,
        on_error=given.on_error,
        checkpoint_every=given.checkpoint_every,
        checkpoint_seconds=given.checkpoint_seconds,
        durable_timeout=given.durable_timeout,
        lock_timeout=given.lock_timeout,
        grace=given.grace,
        notice_file=None if notice_file is None else Path(notice_file),
        progress_json=None if given.progress_json is None else _progress_path(given.progress_json),
    )


def _log_path(checkpoint_path: str | os.PathLike[str] | None, snapshot_dir: str | os.PathLike[str] | None) -> Path:
    if checkpoint_path is None and snapshot_dir is None:
        raise SettingsInvalid(f"there is nowhere to write results: pass checkpoint_path= or set {env.SNAPSHOT_DIR}")
    path = Path(DEFAULT_LOG if checkpoint_path is None else checkpoint_path)
    if snapshot_dir is None:
        return path.absolute()
    folder = Path(snapshot_dir).absolute()
    path = folder / path
    if not Path(os.path.normpath(path)).is_relative_to(os.path.normpath(folder)):
        raise SettingsInvalid(
            f"checkpoint_path {path} lies outside of the snapshot directory {folder}, so nothing would save it: "
            "give a path relative to that directory"
        )
    return path


def _progress_path(given: str | os.PathLike[str]) -> Path:
    path = Path(given).absolute()
    return path if path.name.endswith(PROGRESS_SUFFIX) else path.with_name(path.name + PROGRESS_SUFFIX)


def _items(given: Parameters, *, shard: int, shards: int, environ: Mapping[str, str]) -> ItemSource:
    path = environ.get(env.ITEMS)
    try:
        in_file = items_of_file(Path(path)) if path else None
    except OSError as error:
        raise SettingsInvalid(f"{env.ITEMS} names {path}, which cannot be read: {error.strerror}") from error
    if given.items is not None:
        source = ItemSource(given.items, key=given.key, shard=shard, shards=shards)
        if in_file is not None:
            source.check_same_as(in_file)
        return source
    if in_file is None:
        raise SettingsInvalid(f"there are no items: pass items= or set {env.ITEMS}")
    if given.shard is not None:
        raise SettingsInvalid(
            f"shard={given.shard!r}, but the items in {env.ITEMS} are those of one shard already: leave shard= out, or "
            "pass the items of the whole sweep as items="
        )
    return FileSource(in_file, key=given.key, shards=shards)


def _shard(given: tuple[int, int] | None, environ: Mapping[str, str]) -> tuple[int, int]:
    if given is not None:
        try:
            shard, shards = (int(number) for number in given)
        except (TypeError, ValueError) as error:
            raise SettingsInvalid(f"shard={given!r} must be two whole numbers (i, n): shard i of n, from 0") from error
        if not 0 <= shard < shards:
            raise SettingsInvalid(f"shard={given!r} is none: shards count from 0 and go up to {shards - 1}")
        return shard, shards
    texts = environ.get(env.SHARD), environ.get(env.SHARDS)
    if texts == (None, None):
        return 0, 1
    if None in texts:
        raise SettingsInvalid(f"{env.SHARD} and {env.SHARDS} go together, but only one of them is set")
    shard, shards = _whole_number(env.SHARD, texts[0]), _whole_number(env.SHARDS, texts[1])
    if shard >= shards:
        raise SettingsInvalid(f"{env.SHARD}={shard} must be below {env.SHARDS}={shards}: shards count from 0")
    return shard, shards


def _check_numbers(given: Parameters) -> None:
    _check(given.on_error in get_args(OnError), "on_error", given.on_error, "one of " + ", ".join(get_args(OnError)))
    _check(_is_whole(given.max_attempts, 1), "max_attempts", given.max_attempts, "a whole number of 1 or more")
    every, seconds = given.checkpoint_every, given.checkpoint_seconds
    _check(every is None or _is_whole(every, 1), "checkpoint_every", every, "a number of items, 1 or more")
    _check(seconds is None or _is_number(seconds, above=0), "checkpoint_seconds", seconds, "seconds, more than 0")
    timeout = given.durable_timeout
    _check(timeout is None or _is_number(timeout), "durable_timeout", timeout, "seconds, 0 or more")
    _check(given.grace is None or _is_number(given.grace), "grace", given.grace, "seconds, 0 or more")
    _check(_is_number(given.lock_timeout), "lock_timeout", given.lock_timeout, "seconds, 0 or more")


def _check(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise SettingsInvalid(f"{name}={value!r} must be {wanted}")


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _is_number(value: object, above: float = -math.inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value > above


def _whole_number(name: str, text: str | None) -> int:
    if text is None or not (text.isascii() and text.isdigit()):
        raise SettingsInvalid(f"{name} must be a whole number of 0 or more, not {text!r}")
    return int(text)
