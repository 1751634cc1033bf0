"""An experiment that takes its time without taking the machine's: for tests whose subject is everything around it.

Each item waits, as for a GPU, and then gives a number that only the item decides.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

from resumable_sweep import ResumableSweep, canonical_json, key_of


def digest(item: dict[str, Any]) -> str:
    """Return a pure function of the item, after its `seconds`."""
    time.sleep(item["seconds"])
    return hashlib.sha256(canonical_json(item).encode()).hexdigest()


def main() -> None:
    with ResumableSweep() as sweep:
        for item in sweep.pending:
            result = digest(item)
            print("ran", canonical_json(key_of(item)), flush=True)
            sweep.record(item, result)


if __name__ == "__main__":
    main()
