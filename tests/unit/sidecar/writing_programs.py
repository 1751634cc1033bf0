"""Programs that write checkpoints in all the ways there are, step by step, and what must be true of a copy of theirs.

Each step is one call that changes the file system, so that whoever looks in between sees every state there ever is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import ClassVar

from resumable_sweep.contract.manifest import FileOf, Manifest, sha256_of_files

CHUNKS = 4
_KEPT = 20
_COARSE = 5
"""CLOCK_REALTIME_COARSE of Linux, by which files are stamped; Python has no name for it."""
_DAY_NS = 86_400_000_000_000


def content(name: str, version: int, size: int = 3000) -> bytes:
    """Return what a file holds at a version, told by its first line."""
    line = f"{name} {version}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def version_of(name: str, data: bytes) -> int:
    """Return the version of a file's content; what is not one fails the test."""
    first = data.partition(b"\n")[0].decode()
    assert first.startswith(f"{name} "), f"{name} starts with {first[:40]!r}"
    version = int(first.split()[1])
    assert data == content(name, version, len(data)), f"{name} is torn: {len(data)} bytes, not all of version {version}"
    return version


class Stamps:
    """Gives each write a time stamp of its own, whatever the ticks of the kernel's clock are."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def stamp(self, file: int) -> None:
        now_ns = _DAY_NS + next(self._numbers) * 1_000_000
        os.utime(file, ns=(now_ns, now_ns))

    def pause(self) -> None:
        """Come back once a write would get another stamp than the one before."""


class NoStamps(Stamps):
    """Leaves the time stamps to the kernel."""

    def stamp(self, file: int) -> None:
        pass

    def pause(self) -> None:
        begun = time.clock_gettime_ns(_COARSE)
        while time.clock_gettime_ns(_COARSE) == begun:
            time.sleep(0)


class Program(ABC):
    """Writes below `root` for ever, one call a step."""

    options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What a capturer has to be told of it."""

    def __init__(self, root: Path, stamps: Stamps) -> None:
        self.root = root
        self._stamps = stamps

    @abstractmethod
    def steps(self) -> Iterator[str]:
        """Do one step after the other; yield a word to the diary, mostly empty."""

    @abstractmethod
    def check(self, files: Mapping[str, bytes]) -> None:
        """Fail where a copy of the directory is nothing that ever was there."""

    def put(self, path: str, data: bytes, *, flags: int = os.O_TRUNC | os.O_CREAT) -> None:
        file = os.open(self.root / path, os.O_WRONLY | flags, 0o644)
        try:
            os.write(file, data)
            self._stamps.stamp(file)
        finally:
            os.close(file)

    def replace(self, path: str, data: bytes) -> Iterator[str]:
        self.put(f"{path}.tmp", data)
        yield ""
        (self.root / f"{path}.tmp").replace(self.root / path)
        yield ""


class Renaming(Program):
    """One file, always by way of a temporary name, a hard link to the version before, and a link to the newest."""

    def steps(self) -> Iterator[str]:
        for version in count():
            yield from self.replace("renamed.bin", content("renamed", version))
            os.link(self.root / "renamed.bin", self.root / "linked.tmp")
            yield ""
            (self.root / "linked.tmp").replace(self.root / "linked.bin")
            yield ""
            (self.root / "latest.tmp").symlink_to("linked.bin" if version % 2 else "renamed.bin")
            yield ""
            (self.root / "latest.tmp").replace(self.root / "latest.bin")
            yield ""

    def check(self, files: Mapping[str, bytes]) -> None:
        for path in ("renamed.bin", "linked.bin", "latest.bin"):
            if path in files:
                version_of("renamed", files[path])


class InPlace(Program):
    """One file of always the same size that is written over in place, piece by piece."""

    def steps(self) -> Iterator[str]:
        size = CHUNKS * 1000
        self.put("in-place.bin", b"".join(content("part", 0, 1000) for _ in range(CHUNKS)))
        yield ""
        for version in count(1):
            yield f"begin in-place {version}"
            file = os.open(self.root / "in-place.bin", os.O_WRONLY)
            for place in range(0, size, 1000):
                os.pwrite(file, content("part", version, 1000), place)
                self._stamps.stamp(file)
                yield ""
            os.close(file)
            yield f"end in-place {version}"

    def check(self, files: Mapping[str, bytes]) -> None:
        data = files.get("in-place.bin")
        if data:
            parts = [version_of("part", data[place : place + 1000]) for place in range(0, len(data), 1000)]
            assert parts == sorted(parts, reverse=True), f"no moment had {parts}"
            assert parts[0] - parts[-1] <= 1, f"no moment had {parts}"


class Truncating(Program):
    """One file that is emptied and written anew, piece by piece, of another size each time."""

    def steps(self) -> Iterator[str]:
        for version in count():
            data = content("truncated", version, 2000 + version % 3 * 500)
            yield f"begin truncated {version}"
            self.put("truncated.bin", b"")
            yield ""
            for place in range(0, len(data), 500):
                self.put("truncated.bin", data[place : place + 500], flags=os.O_APPEND)
                yield ""
            yield f"end truncated {version}"

    def check(self, files: Mapping[str, bytes]) -> None:
        if files.get("truncated.bin"):
            version_of("truncated", files["truncated.bin"])


class Recording(Program):
    """A log of which each line names a file that was written before; what a later line drops is removed after it."""

    def steps(self) -> Iterator[str]:
        (self.root / "data").mkdir(exist_ok=True)
        yield ""
        for number in count():
            data = content(f"item-{number}", number, 500)
            yield from self.replace(f"data/{number}.bin", data)
            line = json.dumps({"has": number, "sha256": hashlib.sha256(data).hexdigest(), "pad": "." * 2000}).encode()
            self.put("items.jsonl", line[:9], flags=os.O_APPEND | os.O_CREAT)
            yield ""
            self.put("items.jsonl", line[9:] + b"\n", flags=os.O_APPEND)
            yield ""
            if number >= _KEPT:
                self.put("items.jsonl", json.dumps({"drops": number - _KEPT}).encode() + b"\n", flags=os.O_APPEND)
                yield ""
                (self.root / f"data/{number - _KEPT}.bin").unlink()
                yield ""

    def check(self, files: Mapping[str, bytes]) -> None:
        lines = [json.loads(line) for line in files.get("items.jsonl", b"").splitlines()]
        dropped = {line["drops"] for line in lines if "drops" in line}
        named = {line["has"]: line["sha256"] for line in lines if "has" in line}
        assert list(named) == list(range(len(named)))
        for number, sha256 in named.items():
            path = f"data/{number}.bin"
            if number not in dropped:
                assert path in files, f"{path} is missing, which line {number} names"
            if path in files:
                assert hashlib.sha256(files[path]).hexdigest() == sha256


class Pairing(Program):
    """A checkpoint with its manifest, replaced one after the other."""

    def steps(self) -> Iterator[str]:
        for version in count():
            data = content("pair", version)
            yield from self.replace("pair.bin", data)
            manifest = Manifest(hashlib.sha256(data).hexdigest(), len(data))
            yield from self.replace("pair.bin.manifest.json", manifest.to_json().encode())

    def check(self, files: Mapping[str, bytes]) -> None:
        data, manifest = files.get("pair.bin"), files.get("pair.bin.manifest.json")
        if data is not None and manifest is not None:
            assert json.loads(manifest)["sha256"] == hashlib.sha256(data).hexdigest()
            version_of("pair", data)


class Rotating(Program):
    """A record, rewritten whole, of which of two files counts; the other one is removed once it is no longer named."""

    def steps(self) -> Iterator[str]:
        for version in count():
            path = f"state-{version}.bin"
            yield from self.replace(path, content("state", version))
            data = json.dumps({"latest": path}).encode()
            yield from self.replace("latest.progress.json", data)
            manifest = Manifest(hashlib.sha256(data).hexdigest(), len(data))
            yield from self.replace("latest.progress.json.manifest.json", manifest.to_json().encode())
            if version:
                (self.root / f"state-{version - 1}.bin").unlink()
                yield ""

    def check(self, files: Mapping[str, bytes]) -> None:
        if "latest.progress.json" in files:
            named = json.loads(files["latest.progress.json"])["latest"]
            assert named in files, f"{named} is missing, which the record names"
            version_of("state", files[named])


class Swapping(Program):
    """A folder that is made under Orbax's temporary name and renamed; the one before is taken away just before."""

    def steps(self) -> Iterator[str]:
        for version in count():
            made = f"swapped.orbax-checkpoint-tmp-{version}"
            (self.root / made / "deep").mkdir(parents=True)
            yield ""
            for name in ("a", "b", "deep/c"):
                self.put(f"{made}/{name}", content("swapped", version, 500))
                yield ""
            if version:
                (self.root / "swapped").rename(self.root / f"old-{version}.tmp")
                yield ""
            (self.root / made).rename(self.root / "swapped")
            yield ""
            shutil.rmtree(self.root / f"old-{version}.tmp", ignore_errors=True)
            yield ""

    def check(self, files: Mapping[str, bytes]) -> None:
        assert not any("tmp" in path for path in files)
        versions = {path: version_of("swapped", data) for path, data in files.items() if path.startswith("swapped/")}
        assert len(versions) in (0, 3), f"a part of a folder: {versions}"
        assert len(set(versions.values())) <= 1, f"two folders in one: {versions}"


class Marking(Program):
    """A folder that is written over in place, its marker last, as torch.distributed.checkpoint does."""

    options: ClassVar = {"commit": ("marked/*/DONE",)}
    folder = "marked/x"
    marker = "DONE"
    names = ("a", "b")

    def steps(self) -> Iterator[str]:
        (self.root / self.folder).mkdir(parents=True, exist_ok=True)
        yield ""
        for version in count():
            for name in self.names:
                self.put(f"{self.folder}/{name}", b"")
                yield ""
                self.put(f"{self.folder}/{name}", content("marked", version, 500))
                yield ""
            yield from self.replace(f"{self.folder}/{self.marker}", content("marked", version, 10))
            self._stamps.pause()

    def check(self, files: Mapping[str, bytes]) -> None:
        versions = {
            path: version_of("marked", data) for path, data in files.items() if path.startswith(f"{self.folder}/")
        }
        assert len(versions) in (0, 1 + len(self.names)), f"a part of a folder: {versions}"
        assert len(set(versions.values())) <= 1, f"two checkpoints in one: {versions}"


class Distributing(Marking):
    """The same with the names of torch.distributed.checkpoint."""

    options: ClassVar = {"commit": ("torch-dcp",)}
    folder = "distributed"
    marker = ".metadata"
    names = ("__0_0.distcp", "__1_0.distcp")


class Listing(Program):
    """A folder with a manifest beside it that lists its files."""

    def steps(self) -> Iterator[str]:
        for version in count():
            made = self.root / "listed.tmp"
            made.mkdir()
            for name in ("a", "b"):
                self.put(f"listed.tmp/{name}", content("listed", version, 500))
                yield ""
            if version:
                (self.root / "listed").rename(self.root / "former.tmp")
                yield ""
            made.rename(self.root / "listed")
            yield ""
            digest = hashlib.sha256(content("listed", version, 500)).hexdigest()
            found = (FileOf("a", digest, 500), FileOf("b", digest, 500))
            manifest = Manifest(sha256_of_files(found), 1000, files=found)
            yield from self.replace("listed.manifest.json", manifest.to_json().encode())
            shutil.rmtree(self.root / "former.tmp", ignore_errors=True)
            yield ""

    def check(self, files: Mapping[str, bytes]) -> None:
        manifest = files.get("listed.manifest.json")
        if manifest is not None and "listed/a" in files:
            listed = {path: sha256 for path, sha256, _ in json.loads(manifest)["files"]}
            assert listed == {name: hashlib.sha256(files[f"listed/{name}"]).hexdigest() for name in ("a", "b")}


ALL = (
    Renaming,
    InPlace,
    Truncating,
    Recording,
    Pairing,
    Rotating,
    Swapping,
    Marking,
    Distributing,
    Listing,
)
