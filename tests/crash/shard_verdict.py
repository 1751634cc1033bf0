"""What must hold of a shard whose pods were struck: of each restore, of all that was ever published, and at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crash.life import Life
from crash.pod import Pod, Shard
from crash.reins import digest_of, visible_states
from faults.verdict import wrong_in_the_log
from resumable_sweep.contract.outcome import Exit
from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.housekeeping import merge
from sweep_sidecar.inspection.runs import one_run
from sweep_sidecar.inspection.verifying import verify_run
from sweep_sidecar.log.entry import Kind, Stored
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.restore import generation_in
from sweep_sidecar.settings import RunSettings

FOLDER = layout.shard_folder("run", 0)


def outcome_of(life: Life) -> tuple[int, str, str, dict[str, Any]] | None:
    """Return exit code, reason, message and details that a life ended with, None where it was killed."""
    told = life.values("outcome")
    return told[0] if told else None


def wrong_with(life: Life, what: str) -> list[str]:
    """Return why a life did not end as it may: by itself and well, or killed."""
    if life.killed or (life.status == 0 and outcome_of(life)):
        return []
    return [f"the {what} failed on its own: {life}"]


def wrong_after_restore(pod: Pod) -> Iterator[str]:
    """Yield what is wrong with what a restore that came to its end has brought."""
    log = LogReader(pod.shard.store, FOLDER)
    head = log.head()
    assert head is not None
    if head.entry.kind is not Kind.BASE or head.entry.writer.attempt != pod.attempt:
        yield f"attempt {pod.attempt} is restored, and the newest entry is {head.entry.kind} of {head.entry.writer}"
        return
    seq = head.entry.body["generation"]
    said = max((one["generation"] for one in pod.shard.said if one["generation"] is not None), default=-1)
    if said > (-1 if seq is None else seq):
        yield f"generation {said} was acknowledged, and attempt {pod.attempt} has restored {seq}"
    expected = {} if seq is None else _content(log, log.read(seq))
    found = pod.files()
    if found != expected:
        wrong = sorted(path for path in {*found, *expected} if found.get(path) != expected.get(path))
        yield f"generation {seq} is restored, and {', '.join(wrong)} are not what it says"
    if (progress := pod.shard.style.progress(found)) < pod.shard.durable:
        yield f"{pod.shard.durable} was said to be durable, and attempt {pod.attempt} goes on from {progress}"


def wrong_in_the_store(shard: Shard) -> Iterator[str]:
    """Yield what is wrong with what was ever published: each generation is a state that the program was in."""
    url = shard.url
    yield from (str(finding) for finding in verify_run(one_run(url), deep=True).findings)
    yield from wrong_in_the_log(shard.store, FOLDER, shard.said, may_fall_back=False)
    states = visible_states(shard.truth)
    progress = 0
    for seq, files in generations(shard):
        for path, data in files.items():
            if digest_of(data) not in states.get(path, ()):
                yield f"generation {seq} has a {path} of {len(data)} bytes that the experiment never wrote"
        try:
            yield from (f"generation {seq}: {wrong}" for wrong in shard.style.wrong(files))
            reached = shard.style.progress(files)
        except (ValueError, KeyError) as error:
            yield f"generation {seq} cannot be read: {error!r}"
            continue
        if reached < progress:
            yield f"generation {seq} goes back from {progress} to {reached}: {sorted(files)}"
        progress = max(progress, reached)


def generations(shard: Shard) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield all generations of the shard, the oldest first, with their files' contents."""
    log = LogReader(shard.store, FOLDER)
    head = log.head()
    for seq in range(0 if head is None else head.entry.seq + 1):
        found = log.read(seq)
        if found.entry.kind is Kind.GEN:
            yield seq, _content(log, found)


def come_to(shard: Shard) -> dict[str, bytes]:
    """Return what the shard has come to: its merged results, or else what the files of its newest generation say."""
    if not shard.style.counts:
        return shard.style.comes_to(list(generations(shard))[-1][1])
    merged = merge(
        shard.store,
        RunSettings(store_url=shard.url, run_id="run", shards=1, items_sha256=shard.items_sha256),
    )
    return {"merged": shard.store.get(merged.url.removeprefix(f"{shard.url}/"))}


def has_ended(pod: Pod, kind: Kind) -> bool:
    """Return whether an entry of this kind, which ends an attempt, was written by this one: whoever may read of it."""
    log = LogReader(pod.shard.store, FOLDER)
    head = log.head()
    entries = (log.read(seq).entry for seq in range(0 if head is None else head.entry.seq + 1))
    return any(entry.kind is kind and entry.writer.attempt == pod.attempt for entry in entries)


def shut_out(life: Life, pod: Pod) -> bool:
    """Return whether a process that others have overtaken has ended as such, or had ended before."""
    outcome = outcome_of(life)
    if outcome is None:
        return False
    if outcome[1] == "Sealed":
        return has_ended(pod, Kind.SEAL)  # and where it stands in the log, it may
    return outcome[0] in (Exit.SUPERSEDED, Exit.COMPLETE) or outcome[1] in ("Superseded", "Complete")


def _content(log: LogReader, found: Stored) -> dict[str, bytes]:
    reader = ContentReader(log)
    files = generation_in(log, found).files
    return {path: reader.content(version, what=path) for path, version in files.items()}
