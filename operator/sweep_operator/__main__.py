"""`python -m sweep_operator`: run the operator with the settings of its environment."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from sweep_operator.kube.depth import allow_deep_objects
from sweep_operator.runtime.election import LeadershipLost
from sweep_operator.runtime.process import run
from sweep_operator.runtime.settings import SettingsInvalid, settings_from

LOST = 75
"""Exit status of an operator that could not renew its Lease: it is to be started again (EX_TEMPFAIL)."""


def main() -> int:
    """Run until asked to end, and return the exit status."""
    allow_deep_objects()
    try:
        settings = settings_from(os.environ)
    except SettingsInvalid as error:
        print(f"sweep-operator: {error}", file=sys.stderr)
        return 64
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(run(settings))
    except LeadershipLost as error:
        print(f"sweep-operator: {error}: ending, so that two never decide at once", file=sys.stderr)
        return LOST
    return 0


if __name__ == "__main__":
    sys.exit(main())
