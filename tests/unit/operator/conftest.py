"""Makes `builders.py` importable: the folders of tests are no packages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("builders", Path(__file__).with_name("builders.py"))
assert _spec is not None
assert _spec.loader is not None
_builders = importlib.util.module_from_spec(_spec)
sys.modules["builders"] = _builders
_spec.loader.exec_module(_builders)
