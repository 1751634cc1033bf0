"""Run a program, and put its results into a bucket once it has ended, however it has.

What people write around a program that a Job runs: so the Job's side of a comparison has it too. It needs nothing but
Python. `RESULTS` is the file, `KEEP_AT` the URL to which it is uploaded.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

_TRY_FOR_S = 120.0
_PAUSE_S = 1.0


def main() -> int:
    """Return the program's exit status, or 1 where its results could not be kept."""
    program = subprocess.Popen(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: program.terminate())
    status = program.wait()
    results = Path(os.environ["RESULTS"])
    if results.exists() and not _is_kept(results.read_bytes(), os.environ["KEEP_AT"]):
        return 1
    return status if status >= 0 else 128 - status


def _is_kept(data: bytes, url: str) -> bool:
    until = time.monotonic() + _TRY_FOR_S
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, data=data, method="POST"), timeout=10).close()
            return True
        except (OSError, urllib.error.URLError) as error:
            print(f"the results are not in the bucket yet: {error}", file=sys.stderr, flush=True)
            if time.monotonic() > until:
                return False
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
