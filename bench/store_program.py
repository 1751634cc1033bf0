"""One measurement on a store in a process of its own: `python -m bench.store_program WHAT ARGUMENTS...`, prints JSON.

The sidecar's own way into the store and back, and gcsfs' way, take turns, so that both meet the same moments of the
server and of other programs; what is reported are the seconds of each turn.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from bench.store_day import RUN, settings_of
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.restore import restored_attempt
from sweep_sidecar.store import Creation, Store, open_store

MIB = 1 << 20
SMALL = b"x" * 500
"""As long as an entry of a log with little news."""
_FILE = "checkpoint.bin"
_WRITERS = 8


def put(folder: str, url: str, mib: str, turns: str) -> dict[str, Any]:
    """Bring a file of `mib` MiB into the store and back, so many times in each way; seconds.

    The sidecar's way is that of a pod: read and digest the file, store its blobs and the generation; then in another
    pod take the shard, fetch all, check every digest, and write it through to the disk. gcsfs' way is `put_file` and
    `get_file`.
    """
    root, source = Path(folder), Path(folder) / "source"
    _fill(source, int(mib))
    found: dict[str, list[float]] = {name: [] for name in ("mine_put", "peer_put", "mine_get", "peer_get")}
    for turn in range(int(turns)):
        ways = [
            ("mine", partial(_by_sidecar, root / f"pods-{turn}", f"{url}/{turn}/{RUN}", source)),
            ("peer", partial(_by_gcsfs, root / f"back-{turn}", f"{url}/peer-{turn}", source)),
        ]
        # Whoever goes first may find the disk busy with what came before: each does so every other time.
        for name, go in ways if turn % 2 else reversed(ways):
            there, back = go()
            found[f"{name}_put"].append(there)
            found[f"{name}_get"].append(back)
        _gcsfs().rm(url, recursive=True)
    return found


def create(url: str, count: str) -> dict[str, Any]:
    """Create `count` small objects with the store and with gcsfs in turn, then as many from several threads."""
    store, gcs = open_store(f"{url}/mine"), _gcsfs()
    found: dict[str, list[float]] = {"mine": [], "peer": []}
    for number in range(int(count)):
        found["mine"].append(_seconds(partial(_create, store, f"one/{number}")))
        found["peer"].append(_seconds(partial(gcs.pipe_file, f"{url}/peer/{number}", SMALL)))
    keys = [f"many/{number}" for number in range(int(count))]
    with ThreadPoolExecutor(_WRITERS) as pool:
        together = _seconds(lambda: list(pool.map(partial(_create, store), keys)))
    return {**found, "together_s": together, "writers": _WRITERS}


def memory(who: str, folder: str, url: str, mib: str) -> dict[str, float]:
    """Return the resident set in MiB: of Python alone, after one small create, and the peak of a file there and back.

    `who` is `mine` for the sidecar's way, `peer` for gcsfs'.
    """
    found = {"python": _resident_mib("VmRSS")}
    root, source = Path(folder) / who, Path(folder) / "source"
    _fill(source, int(mib))
    if who == "mine":
        open_store(f"{url}/{who}").create("small", SMALL)
    else:
        _gcsfs().pipe_file(f"{url}/{who}/small", SMALL)
    found["created"] = _resident_mib("VmRSS")
    (_by_sidecar if who == "mine" else _by_gcsfs)(root, f"{url}/{who}/{RUN}", source)
    found["peak"] = _resident_mib("VmHWM")
    return found


def _by_sidecar(folder: Path, url: str, source: Path) -> tuple[float, float]:
    store = open_store(url)
    settings = [settings_of(folder / str(attempt), url=url, attempt=attempt, named=_FILE) for attempt in (0, 1)]
    restored_attempt(store, settings[0], nonce=_nonce, clock=time.time)
    os.link(source, settings[0].snapshot / _FILE)
    writer = AttemptWriter(store, settings[0], nonce=_nonce, clock=time.time, tell=lambda report: None)
    writer.begin()
    there = _seconds(writer.look)
    if writer.report.problem or writer.report.generation is None:
        raise RuntimeError(f"no generation was written: {writer.report}")
    back = _seconds(lambda: restored_attempt(store, settings[1], nonce=_nonce, clock=time.time))
    _same(settings[1].snapshot / _FILE, source)
    shutil.rmtree(folder)
    return there, back


def _by_gcsfs(folder: Path, url: str, source: Path) -> tuple[float, float]:
    folder.mkdir()
    gcs, target = _gcsfs(), folder / _FILE
    there = _seconds(lambda: gcs.put_file(str(source), f"{url}/{_FILE}"))
    back = _seconds(lambda: gcs.get_file(f"{url}/{_FILE}", str(target)))
    _same(target, source)
    shutil.rmtree(folder)
    return there, back


def _gcsfs() -> Any:
    # The sidecar's module comes first: it sets what gcsfs reads when it is imported.
    importlib.import_module("sweep_sidecar.store.gcs")
    import gcsfs

    return gcsfs.GCSFileSystem(token="anon")


def _fill(path: Path, mib: int) -> None:
    if path.exists():
        return
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))


def _same(found: Path, source: Path) -> None:
    if found.stat().st_size != source.stat().st_size:
        raise RuntimeError(f"{found} has {found.stat().st_size} bytes, not {source.stat().st_size}")


def _create(store: Store, key: str) -> None:
    if store.create(key, SMALL) is not Creation.CREATED:
        raise RuntimeError(f"{key}, which nobody has written, is there")


def _seconds(act: Callable[[], object]) -> float:
    before = time.perf_counter()
    act()
    return time.perf_counter() - before


def _nonce() -> str:
    return uuid.uuid4().hex


def _resident_mib(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


_MEASUREMENTS: dict[str, Callable[..., dict[str, Any]]] = {"put": put, "create": create, "memory": memory}

if __name__ == "__main__":
    print(json.dumps(_MEASUREMENTS[sys.argv[1]](*sys.argv[2:])))
