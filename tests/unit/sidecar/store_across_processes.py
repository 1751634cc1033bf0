"""What every store must do that several processes share: a test file subclasses this and gives it a `url`."""

from __future__ import annotations

import os
import subprocess
import sys

from sweep_sidecar.store import open_store

_PROCESSES = 4
_RACES = 15
_RACER = """
import sys
from sweep_sidecar.store import open_store
url, races, me = sys.argv[1], int(sys.argv[2]), sys.argv[3]
store = open_store(url, deadline_s=60)
store.list("slot/")  # whatever is made at the first call is made before the start
print("ready", flush=True)
for race in range(races):
    sys.stdin.readline()
    print(store.create(f"slot/{race}", me.encode()), flush=True)
"""


class StoreAcrossProcesses:
    """`url` is that of a folder nobody has written into; what else a process needs is in `os.environ`."""

    def test_has_one_winner_among_processes(self, url: str) -> None:
        names = [f"process {number}" for number in range(_PROCESSES)]
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", _RACER, url, str(_RACES), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ,
            )
            for name in names
        ]
        said: list[list[str]] = []
        try:
            assert [_line(racer) for racer in racers] == ["ready"] * _PROCESSES
            for _ in range(_RACES):
                for racer in racers:
                    assert racer.stdin is not None
                    racer.stdin.write("go\n")
                    racer.stdin.flush()
                said.append([_line(racer) for racer in racers])
        finally:
            for racer in racers:
                racer.kill()
                racer.communicate()
        store = open_store(url, deadline_s=20)
        for race, outcomes in enumerate(said):
            assert sorted(outcomes) == ["created", *["exists"] * (_PROCESSES - 1)]
            assert store.get(f"slot/{race}").decode() == names[outcomes.index("created")]


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
