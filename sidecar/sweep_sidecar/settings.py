"""What the sidecar is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args
from urllib.parse import urlsplit

from resumable_sweep.contract import environment as names
from sweep_sidecar import layout
from sweep_sidecar.drift import ALL, PARTS
from sweep_sidecar.progress import Progress

Completion = Literal["Recorded", "ExitCode", ""]
"""What may prove a shard complete: records alone, also exit codes, or (empty) those only where no records can."""


class SettingsInvalid(ValueError):
    """A variable is missing or wrong; the message names it, its value and the mend."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What every role needs: where the run lies, and its shape."""

    store_url: str
    run_id: str
    shards: int
    items_sha256: str
    """Digest of the run's items, empty where the program alone knows them."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> RunSettings:
        """Return the settings that the variables say.

        Raises
        ------
        SettingsInvalid
        """
        return cls(
            store_url=_text(environment, names.STORE_URL).rstrip("/"),
            run_id=_text(environment, names.RUN_ID),
            shards=_number(environment, names.SHARDS, least=1),
            items_sha256=environment.get(names.ITEMS_SHA256, ""),
        )


@dataclass(frozen=True, kw_only=True)
class AttemptSettings:
    """What `restore` and `mirror` need: one attempt of one shard."""

    run: RunSettings
    shard: int
    attempt: int
    pod_uid: str
    shared_by_group: bool
    """Whether the experiment may run as another user, which reaches the sidecar's files by their group alone."""
    snapshot: Path
    checkpoint_file: str
    """Path inside the snapshot directory that a relaunch goes on from; empty = any."""
    interval_s: float
    flush_timeout_s: float
    """How long the pod has to end and to store what it has, once it has to go."""
    take_after_s: float
    """How long a restore that was begun ahead of time waits at most for the attempt before to end; 0 = not at all."""
    commit: tuple[str, ...]
    """Patterns of the files by whose presence a directory is a whole checkpoint, or names of formats."""
    append: tuple[str, ...]
    """Patterns of files that only grow, besides `*.jsonl`."""
    progress: Progress
    completion: Completion
    port: int
    stop_path: str
    """Empty where the experiment's containers have stop hooks of their own."""
    report_url: str
    metadata_url: str
    """The cloud's metadata server, `http://HOST[:PORT]`; empty = notices are not listened for."""
    token_file: Path | None
    template_sha256: str
    program_sha256: str
    images: tuple[str, ...]
    allow_drift: frozenset[str]
    start_from: str
    """URL of another run's folder, from which a shard without a generation of its own starts; empty = none."""

    @property
    def folder(self) -> str:
        """Folder of the shard's log in the store."""
        return layout.shard_folder(self.run.run_id, self.shard)

    @property
    def private(self) -> Path:
        """The sidecar's own folder inside the snapshot directory."""
        return self.snapshot / names.PRIVATE_FOLDER

    @property
    def restored_marker(self) -> Path:
        """File that says what this attempt has restored; where it is, the restore is done."""
        return self.private / f"restored-{self.attempt}"

    @property
    def notice_file(self) -> Path:
        """File that asks the experiment to stop, by being there."""
        return self.private / names.NOTICE_NAME

    @property
    def items_file(self) -> Path:
        """The shard's own items."""
        return self.private / layout.ITEMS

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> AttemptSettings:
        """Return the settings that the variables say.

        Raises
        ------
        SettingsInvalid
        """
        run = RunSettings.from_environment(environment)
        shard = _number(environment, names.SHARD, least=0)
        if shard >= run.shards:
            raise SettingsInvalid(f"{names.SHARD} is {shard}, but {names.SHARDS} is {run.shards}: it must be lower")
        checkpoint_file = environment.get(names.CHECKPOINT_FILE, "")
        if checkpoint_file.startswith("/") or ".." in PurePosixPath(checkpoint_file).parts:
            raise SettingsInvalid(
                f"{names.CHECKPOINT_FILE} is {checkpoint_file!r}: name a path inside the snapshot directory"
            )
        token_file = environment.get(names.TOKEN_FILE, "")
        stop_path = environment.get(names.STOP_PATH, "")
        if stop_path and not stop_path.startswith("/"):
            raise SettingsInvalid(f"{names.STOP_PATH} is {stop_path!r}: it must start with /")
        return cls(
            run=run,
            shard=shard,
            attempt=_number(environment, names.ATTEMPT, least=0),
            pod_uid=_text(environment, names.POD_UID),
            shared_by_group=environment.get(names.SHARED_BY_GROUP, "") == "1",
            snapshot=Path(_text(environment, names.SNAPSHOT_DIR)),
            checkpoint_file=PurePosixPath(checkpoint_file).as_posix() if checkpoint_file else "",
            interval_s=_seconds(environment, names.INTERVAL, default=10.0),
            take_after_s=_seconds(environment, names.TAKE_AFTER, default=0.0),
            flush_timeout_s=_seconds(environment, names.FLUSH_TIMEOUT, default=300.0),
            commit=_patterns(environment, names.COMMIT),
            append=_patterns(environment, names.APPEND),
            progress=_progress(environment),
            completion=_completion(environment),
            port=_number(environment, names.PORT, least=0, default=9810),
            stop_path=stop_path,
            report_url=environment.get(names.REPORT_URL, "").rstrip("/"),
            metadata_url=_http_url(environment, names.METADATA_URL),
            token_file=Path(token_file) if token_file else None,
            template_sha256=environment.get(names.TEMPLATE_SHA256, ""),
            program_sha256=environment.get(names.PROGRAM_SHA256, ""),
            images=_listed(environment, names.IMAGES),
            allow_drift=_parts(environment, names.ALLOW_DRIFT),
            start_from=environment.get(names.START_FROM, "").rstrip("/"),
        )


def _listed(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(entry for entry in environment.get(name, "").split(",") if entry)


def _patterns(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    patterns = tuple(entry for entry in environment.get(name, "").split("\n") if entry)
    for pattern in patterns:
        if pattern.startswith("/") or ".." in PurePosixPath(pattern).parts:
            raise SettingsInvalid(f"{name} holds {pattern!r}: name paths inside the snapshot directory")
    return patterns


def _progress(environment: Mapping[str, str]) -> Progress:
    known: dict[str, Progress] = {progress.capitalize(): progress for progress in get_args(Progress)}
    text = environment.get(names.PROGRESS, "") or "Auto"
    if text not in known:
        raise SettingsInvalid(f"{names.PROGRESS} is {text!r}: it must be one of {', '.join(known)}")
    return known[text]


def _completion(environment: Mapping[str, str]) -> Completion:
    known: dict[str, Completion] = {completion: completion for completion in get_args(Completion)}
    text = environment.get(names.COMPLETION, "")
    if text not in known:
        raise SettingsInvalid(f"{names.COMPLETION} is {text!r}: it must be Recorded or ExitCode, or empty")
    return known[text]


def _parts(environment: Mapping[str, str], name: str) -> frozenset[str]:
    parts = frozenset(_listed(environment, name))
    known = (*PARTS.values(), ALL, names.WHILE_EMPTY)
    if unknown := sorted(parts.difference(known)):
        raise SettingsInvalid(f"{name} names {', '.join(unknown)}: it may name {', '.join(known)}")
    return parts


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsInvalid(f"{name} is not set: the operator sets it in the containers that it adds")
    return value


def _http_url(environment: Mapping[str, str], name: str) -> str:
    url = environment.get(name, "")
    try:
        address = urlsplit(url)
        valid = not url or (address.scheme == "http" and address.hostname and address.port != 0 and not address.query)
    except ValueError:  # of a port that is no number
        valid = False
    if not valid:
        raise SettingsInvalid(f"{name} is {url!r}: it must be http://HOST or http://HOST:PORT")
    return url


def _number(environment: Mapping[str, str], name: str, *, least: int, default: int | None = None) -> int:
    text = environment.get(name, "")
    if not text and default is not None:
        return default
    try:
        value = int(_text(environment, name))
    except ValueError as error:
        if isinstance(error, SettingsInvalid):
            raise
        raise SettingsInvalid(f"{name} is {text!r}: it must be a whole number") from error
    if value < least:
        raise SettingsInvalid(f"{name} is {value}: it must be {least} or more")
    return value


def _seconds(environment: Mapping[str, str], name: str, *, default: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise SettingsInvalid(f"{name} is {text!r}: it must be a number of seconds") from error
    if not 0 < value < float("inf"):
        raise SettingsInvalid(f"{name} is {text!r}: it must be more than 0")
    return value
