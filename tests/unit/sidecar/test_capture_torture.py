"""A process writes without mercy while another one looks: all that is published was there, whole, at some moment."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweep_sidecar.capture.steady import TICK_NS
from unit.sidecar.captured_shard import Shard
from unit.sidecar.writing_programs import ALL, InPlace, NoStamps, Program, Truncating, content, version_of

LOOKS_FOR_S = float(os.environ.get("CAPTURE_SECONDS", "1.2"))
LOG_MIB = int(os.environ.get("CAPTURE_LOG_MIB", "3"))
"""How long a log becomes; 1024 takes minutes, and no more memory."""
FAST = tuple(kind for kind in ALL if not issubclass(kind, InPlace | Truncating))


def write_on(root: Path, names: list[str], seed: int, diary: Path) -> None:
    """Let programs write in turns drawn from `seed` for ever; note in `diary` which versions took long to write."""
    drawn = random.Random(seed)
    steps = [kind(root, NoStamps()).steps() for kind in ALL if kind.__name__ in names]
    begun: dict[str, int] = {}
    with diary.open("a", buffering=1) as notes:
        while True:
            said = next(drawn.choice(steps))
            if said.startswith("begin "):
                begun[said.removeprefix("begin ")] = time.time_ns()
            elif said.startswith("end ") and time.time_ns() - begun.pop(said.removeprefix("end ")) > TICK_NS // 2:
                notes.write(said.removeprefix("end ") + "\n")
            if drawn.random() < 0.2:
                time.sleep(drawn.random() * 0.004)


@contextmanager
def writing(root: Path, kinds: tuple[type[Program], ...], seed: int) -> Iterator[Path]:
    """Have a process write with these programs meanwhile; yield its diary."""
    diary = root.with_name("diary")
    diary.touch()
    names = [kind.__name__ for kind in kinds]
    code = (
        "import json, sys; from pathlib import Path; from unit.sidecar import test_capture_torture as torture;"
        "torture.write_on(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))"
    )
    search = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(root), json.dumps(names), str(seed), str(diary)],
        env={**os.environ, "PYTHONPATH": search},
        stderr=subprocess.PIPE,
    )
    try:
        while not any(root.iterdir()):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
        yield diary
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
    finally:
        process.kill()
        process.communicate()


def options_of(kinds: tuple[type[Program], ...]) -> dict[str, tuple[str, ...]]:
    return {"commit": tuple(entry for kind in kinds for entry in kind.options.get("commit", ()))}


@pytest.mark.parametrize("seed", range(2))
def test_all_that_is_published_was_there(tmp_path: Path, seed: int) -> None:
    shard = Shard(tmp_path / "snapshot", clock_ns=time.time_ns, **options_of(FAST))
    programs = [kind(shard.root, NoStamps()) for kind in FAST]
    published = torn = 0
    with writing(shard.root, FAST, seed):
        until = time.monotonic() + LOOKS_FOR_S
        while time.monotonic() < until or not published:
            look = shard.capturer.look()
            assert look.refusal is None
            torn += look.is_torn
            if look.is_torn:
                continue
            published += 1
            shard.publish(look)
            files = shard.stored()
            for program in programs:
                program.check(files)
    shard.publish(shard.capturer.look(last=True))
    files = shard.stored()
    for program in programs:
        program.check(files)
    for path in ("renamed.bin", "linked.bin", "latest.bin"):
        assert files[path] == (shard.root / path).read_bytes()
    assert torn < published + 5


def test_what_is_written_in_place_is_taken_only_between_two_versions(tmp_path: Path) -> None:
    kinds = (InPlace, Truncating)
    shard = Shard(tmp_path / "snapshot", clock_ns=time.time_ns)
    seen: list[tuple[str, int, int]] = []
    with writing(shard.root, kinds, 7) as diary:
        until = time.monotonic() + LOOKS_FOR_S
        while time.monotonic() < until:
            look = shard.capturer.look()
            if look.is_torn or not look.files:
                continue
            shard.publish(look)
            files = shard.stored()
            if files.get("in-place.bin"):
                data = files["in-place.bin"]
                parts = {version_of("part", data[place : place + 1000]) for place in range(0, len(data), 1000)}
                seen.append(("in-place", max(parts), len(parts)))
            if "truncated.bin" in files:
                data = files["truncated.bin"]
                version = version_of("truncated", data) if data else -1
                is_whole = version >= 0 and len(data) == 2000 + version % 3 * 500
                assert not is_whole or data == content("truncated", version, len(data))
                seen.append(("truncated", version, 1 if is_whole else 2))
        slow = set(diary.read_text().splitlines())
    # A writer that was stopped in the middle for longer than a tick has left what no one can tell from a version.
    for name, version, parts in seen:
        assert parts == 1 or f"{name} {version}" in slow or not slow.isdisjoint({f"{name} {version + 1}"}), (
            name,
            version,
        )


def test_a_growing_log_is_taken_line_by_line(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "snapshot", clock_ns=time.time_ns, append=("grown/*.csv",))
    (shard.root / "grown").mkdir()
    drawn = random.Random(3)
    size = 0
    digest = hashlib.sha256()
    with (shard.root / "grown/rows.csv").open("ab", buffering=0) as file:
        while size < LOG_MIB << 20:
            row = f"{size},{'x' * drawn.randrange(LOG_MIB * 60_000)}\n".encode()
            place = drawn.randrange(len(row))
            file.write(row[:place])
            look = shard.capturer.look()
            shard.publish(look)
            taken = look.files.get("grown/rows.csv")
            assert (taken.size, taken.sha256) == (size, digest.hexdigest()) if taken else size == 0
            file.write(row[place:])
            size += len(row)
            digest.update(row)
    sent = sum(shard.blobs)
    assert sent < 1.5 * size
    shard.publish(shard.capturer.look(last=True))
    stored = shard.stored()["grown/rows.csv"]
    assert (len(stored), hashlib.sha256(stored).hexdigest()) == (size, digest.hexdigest())
