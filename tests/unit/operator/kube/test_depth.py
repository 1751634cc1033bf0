from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from builders import manifest

from sweep_operator.__main__ import main
from sweep_operator.kube.depth import MOST_LEVELS
from sweep_operator.model.template_form import fault_of
from sweep_operator.pods.template import template_sha256
from sweep_operator.runtime.translation import sweep_of


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    before = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(before)


def test_a_sweep_that_is_as_deep_as_the_api_server_takes_it_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RSWEEP_SIDECAR_IMAGE", raising=False)
    assert main() == 64
    within = 100
    deep = '{"a":' * (MOST_LEVELS - within) + "1" + "}" * (MOST_LEVELS - within)
    of: dict[str, Any] = manifest()
    of["spec"]["template"]["spec"]["volumes"] = [{"name": "d", "x": "DEEP"}]
    read = json.loads(json.dumps(of).replace('"DEEP"', deep))
    template = sweep_of(read).manifest["spec"]["template"]
    assert fault_of(template, for_attempts=True) == ""
    assert len(template_sha256(template)) == 64
    assert len(json.dumps(read)) > len(deep)
