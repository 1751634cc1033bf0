"""Tests with the published packages themselves, run by `make test-compat` where those are installed."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import pytest

# Without the packages nothing is collected here, which pytest itself makes an error of in the run meant for them.
collect_ignore_glob = ["test_*.py"] if find_spec("mime") is None else []

os.environ["JAX_PLATFORMS"] = "cpu"
# A process that was not told looks for Google's metadata server.
os.environ["no_proxy"] = "*"
sys.dont_write_bytecode = True


@pytest.fixture(autouse=True)
def no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the environment of a pod (or of whoever runs the tests) would say."""
    for name in list(os.environ):
        if name.startswith("SWEEP_"):
            monkeypatch.delenv(name)
