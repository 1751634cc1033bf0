"""What a sweep runs with: the program's own parameters, and where it gave none the environment's."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from resumable_sweep.contract import environment as env
from resumable_sweep.contract.canonical import canonical_json, identity, key_of
from resumable_sweep.contract.items import Item, ItemsInvalid, parsed_items, shard_of

DEFAULT_LOG = "results.jsonl"


class SettingsInvalid(ValueError):
    """A parameter or an environment variable cannot be used; the message names it and the mend."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a sweep needs to know: `items` are this shard's own, `key` gives an item's, `log_path` is absolute."""

    items: tuple[Item, ...]
    key: Callable[[Any], Any]
    log_path: Path
    resume_from: Path | None
    run_id: str | None
    attempt: int | None
    shard: int
    shards: int
    host: str


def settings_of(
    *,
    items: Iterable[Any] | None,
    key: Callable[[Any], Any] | None,
    checkpoint_path: str | os.PathLike[str] | None,
    resume_from: str | os.PathLike[str] | None,
    snapshot_dir: str | os.PathLike[str] | None,
    environ: Mapping[str, str],
) -> Settings:
    """Return the settings that the parameters and, where they are None, the environment ask for.

    Variables that are set to nothing count as absent.

    Raises
    ------
    SettingsInvalid, ItemsInvalid
        Where something is missing or contradicts itself.
    """
    environ = {name: value for name, value in environ.items() if value}
    shard, shards = _shard(environ)
    attempt = environ.get(env.ATTEMPT)
    own, key = _items(items, key=key, shard=shard, shards=shards, environ=environ)
    source = resume_from if resume_from is not None else environ.get(env.RESUME_FROM)
    return Settings(
        items=tuple(own),
        key=key,
        log_path=_log_path(checkpoint_path, snapshot_dir or environ.get(env.SNAPSHOT_DIR)),
        resume_from=None if source is None else local_path(source),
        run_id=environ.get(env.RUN_ID),
        attempt=_whole_number(env.ATTEMPT, attempt) if attempt else None,
        shard=shard,
        shards=shards,
        host=socket.gethostname(),
    )


def local_path(source: str | os.PathLike[str]) -> Path:
    """Return the path that a path or `file://` URL names.

    The rest of such a URL is taken as it stands, since `SWEEP_RESUME_FROM` is written unencoded; only where no such
    file exists is it also read as percent-encoded, the form that `Path.as_uri` gives.
    """
    text = os.fspath(source)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text).absolute()
    if scheme != "file":
        raise SettingsInvalid(
            f"resume_from must be a path or a file:// URL, not {text!r}: copy the checkpoint to this machine first"
        )
    rest = rest.removeprefix("localhost")
    if not rest.startswith("/"):
        raise SettingsInvalid(f"resume_from={text!r} names no absolute path: write file:///folder/file")
    plain, decoded = Path(rest), Path(unquote(rest))
    return decoded if decoded.exists() and not plain.exists() else plain


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


def _items(
    items: Iterable[Any] | None,
    *,
    key: Callable[[Any], Any] | None,
    shard: int,
    shards: int,
    environ: Mapping[str, str],
) -> tuple[list[Item], Callable[[Any], Any]]:
    file = environ.get(env.ITEMS)
    given = _items_of_file(Path(file)) if file else None
    if items is not None:
        own = shard_of(_with_keys(items, key or key_of), shard=shard, shards=shards)
    elif given is None:
        raise SettingsInvalid(f"there are no items: pass items= or set {env.ITEMS}")
    elif key is None:
        keys = {canonical_json(item.value): item.key for item in given}
        return given, lambda value: keys[canonical_json(value)]
    else:
        # The file holds this shard's items already: they are not split again.
        own = _with_keys([item.value for item in given], key)
    if given is not None:
        _check_same_keys(own, given)
    return own, key or key_of


def _items_of_file(path: Path) -> list[Item]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsInvalid(f"{env.ITEMS} names {path}, which cannot be read: {error.strerror}") from error
    try:
        items = parsed_items(text)
    except ItemsInvalid as error:
        raise ItemsInvalid(f"{path}: {error}") from error
    _check_distinct([identity(item.key) for item in items], what="key")
    # `record` gets values, not keys: equal values under two keys could not be told apart.
    _check_distinct([canonical_json(item.value) for item in items], what="value")
    return items


def _with_keys(values: Iterable[Any], key: Callable[[Any], Any]) -> list[Item]:
    items = [Item(key=key_for(value, key, f"item {place}"), value=value) for place, value in enumerate(values)]
    _check_distinct([identity(item.key) for item in items], what="key")
    return items


def key_for(value: Any, key: Callable[[Any], Any], what: str) -> Any:
    """Return the key of an item's value as it will be read back from JSON; `what` names the item in an error."""
    try:
        found = json.loads(json.dumps(key(value)))
        identity(found).encode()
    except (TypeError, ValueError) as error:
        raise ItemsInvalid(
            f"{what} has no key that JSON can hold ({error}): pass key= with a function that returns a string, "
            f"a number or a list of those; the item is {value!r:.200}"
        ) from error
    return found


def _check_distinct(names: list[str], *, what: str) -> None:
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        if name in seen:
            raise ItemsInvalid(
                f"items {seen[name]} and {place} have the same {what} {name:.200}: "
                'give each a "key" of its own (or another key=), or remove one of them'
            )
        seen[name] = place


def _check_same_keys(own: list[Item], given: list[Item]) -> None:
    """Refuse items that are not those of the sweep: their results could never be merged."""
    mine, wanted = ({identity(item.key) for item in items} for items in (own, given))
    if mine != wanted:
        example = min(mine ^ wanted)
        where = "not in the program's items" if example in wanted else f"not in {env.ITEMS}"
        raise ItemsInvalid(
            f"the program's items are not those of the sweep: {len(mine)} keys here, {len(wanted)} in {env.ITEMS}; "
            f"{example:.200} is {where}. Leave out items= and key= to take the sweep's, or leave the items out of the "
            "sweep's specification"
        )


def _shard(environ: Mapping[str, str]) -> tuple[int, int]:
    texts = environ.get(env.SHARD), environ.get(env.SHARDS)
    if texts == (None, None):
        return 0, 1
    if None in texts:
        raise SettingsInvalid(f"{env.SHARD} and {env.SHARDS} go together, but only one of them is set")
    shard, shards = _whole_number(env.SHARD, texts[0]), _whole_number(env.SHARDS, texts[1])
    if shard >= shards:
        raise SettingsInvalid(f"{env.SHARD}={shard} must be below {env.SHARDS}={shards}: shards count from 0")
    return shard, shards


def _whole_number(name: str, text: str | None) -> int:
    if text is None or not (text.isascii() and text.isdigit()):
        raise SettingsInvalid(f"{name} must be a whole number of 0 or more, not {text!r}")
    return int(text)
