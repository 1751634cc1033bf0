"""`python -m sweep_operator`: run the operator with the settings of its environment."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from sweep_operator.runtime.process import run
from sweep_operator.runtime.settings import SettingsInvalid, settings_from


def main() -> int:
    """Run until asked to end, and return the exit status."""
    try:
        settings = settings_from(os.environ)
    except SettingsInvalid as error:
        print(f"sweep-operator: {error}", file=sys.stderr)
        return 64
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
