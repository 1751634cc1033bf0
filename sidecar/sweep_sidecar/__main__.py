"""`python -m sweep_sidecar`."""

from __future__ import annotations

import signal
import sys

ENDS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Run the sidecar's command and return its exit code."""
    if sys.argv[1:2] == ["store"]:
        # For people: a signal ends it as it ends any command.
        from sweep_sidecar.inspection.program import main as look

        return look(sys.argv[2:])
    # First of all: as PID 1 of a container a process never gets a signal that it has no handler for, so one that came
    # during the imports would be lost, and the pod would wait for its whole grace period. Blocked, it is kept.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    from sweep_sidecar.command import run

    return run(sys.argv[1:], ends=ENDS)


if __name__ == "__main__":
    raise SystemExit(main())
