"""The operator, as it is, in a process that can be asked from outside what it holds: `python -m soak.operator_inside`.

One thread more than else answers on loopback, at the port in SOAK_PORT, with counts as a JSON object.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import sweep_operator.__main__
from soak.held import held

PORT = "SOAK_PORT"
OBJECTS = "objects"
TASKS = "tasks"
ENTRIES = "entries"
TYPES = "types"
_KEEPERS = ("sweep_operator.runtime.", "sweep_operator.kube.", "kopf._core.reactor.inventory")
_MOST_TYPES = 60


def counts() -> dict[str, Any]:
    """Return the numbers of objects, in all and by type, of unfinished tasks, and of entries by class and attribute."""
    gc.collect()
    found = gc.get_objects()
    entries: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    tasks = 0
    for each in found:
        kind = type(each)
        # A class may have an attribute of that name that is none of its own.
        module = str(kind.__module__)
        kinds[f"{module}.{kind.__qualname__}"] += 1
        if isinstance(each, asyncio.Task):
            tasks += not each.done()
        elif module.startswith(_KEEPERS) and isinstance(getattr(each, "__dict__", None), dict):
            for name, count in held(each).items():
                entries[f"{kind.__name__}.{name}"] += count
    return {
        OBJECTS: len(found),
        TASKS: tasks,
        ENTRIES: dict(entries),
        TYPES: dict(kinds.most_common(_MOST_TYPES)),
    }


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(counts()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the log is the operator's."""


def main() -> int:
    server = HTTPServer(("127.0.0.1", int(os.environ[PORT])), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return sweep_operator.__main__.main()


if __name__ == "__main__":
    sys.exit(main())
