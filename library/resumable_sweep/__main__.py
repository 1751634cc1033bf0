"""`python -m resumable_sweep`, and the command `resumable-sweep`."""

from __future__ import annotations

from resumable_sweep._command.program import main

if __name__ == "__main__":
    raise SystemExit(main())
