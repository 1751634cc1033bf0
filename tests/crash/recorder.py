"""Notes each change to files together with what the program says, in the order in which it all took place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from crash.disk import Op
from crash.interposer import CHANGING, Call, Director, Perform, perform_all


class Recorder:
    """A director whose `ops` are what happened; `inner` decides what does."""

    def __init__(self, root: Path, inner: Director = perform_all) -> None:
        self.ops: list[Op] = []
        self._root = root
        self._inner = inner

    def heard(self, word: str, value: Any) -> None:
        """Note a word of the program's."""
        self.ops.append(Op(what="said", said=(word, value)))

    def __call__(self, call: Call, perform: Perform) -> Any:
        there = os.path.lexists(self._root / call.path)
        size = (self._root / call.path).stat().st_size if there else 0
        written = 0

        def performed(*cut: int) -> Any:
            nonlocal written
            result = perform(*cut)
            if call.size:
                written = result
            return result

        try:
            result = self._inner(call, performed)
        except OSError:
            if call.name in ("fsync", "fdatasync"):
                self.ops.append(Op(what="unsynced", opened=_opened(call)))
            self._note_write(call, written)
            raise
        if call.size:
            self._note_write(call, written)
        elif call.name == "open":
            made = not there and bool(call.flags & os.O_CREAT)
            emptied = there and size > 0 and bool(call.flags & os.O_TRUNC) and bool(call.flags & CHANGING)
            self.ops.append(Op(what="open", path=call.path, opened=_opened(call), made=made, emptied=emptied))
        elif call.name == "ftruncate":
            self.ops.append(Op(what="cut", opened=_opened(call), offset=call.offset or 0))
        elif call.name in ("fsync", "fdatasync"):
            self.ops.append(Op(what="sync", opened=_opened(call)))
        elif call.name in ("replace", "rename"):
            self.ops.append(Op(what="move", path=call.path, target=call.target or ""))
        elif call.name != "write" and call.name != "pwrite":
            what = "unlink" if call.name == "remove" else call.name
            self.ops.append(Op(what=what, path=call.path, target=call.target or ""))
        return result

    def _note_write(self, call: Call, written: int) -> None:
        if written:
            data = call.data[:written]
            self.ops.append(Op(what="write", opened=_opened(call), offset=call.offset or 0, data=data))


def _opened(call: Call) -> int:
    assert call.opened is not None
    return call.opened
