from __future__ import annotations

import pytest

from sweep_operator.kube import paths
from sweep_operator.runtime.metrics.requests import code_of, resource_of, verb_of


@pytest.mark.parametrize(
    ("path", "resource", "verb"),
    [
        (paths.PODS, "pods", "list"),
        (paths.pods("ns"), "pods", "list"),
        (paths.pod("ns", "lr-1"), "pods", "get"),
        (paths.node("n"), "nodes", "get"),
        (paths.node_lease("n"), "leases", "get"),
        (paths.priority_class("c"), "priorityclasses", "get"),
        (paths.sweeps(())[0], "resumablesweeps", "list"),
        (paths.sweeps(("ns",))[0], "resumablesweeps", "list"),
        (paths.sweep_status("ns", "lr"), "resumablesweeps/status", "get"),
        (f"{paths.config_maps('ns')}/items", "configmaps", "get"),
        (paths.events("ns"), "events", "list"),
        ("/apis/resumable.dev/v1alpha1", "discovery", "get"),
        ("/version", "discovery", "get"),
    ],
)
def test_a_request_is_called_as_in_the_api_servers_own_metrics(path: str, resource: str, verb: str) -> None:
    assert (resource_of(path), verb_of("get", path), verb_of("create", path)) == (resource, verb, "create")


def test_a_request_without_an_answer_has_a_code_too() -> None:
    assert (code_of(410), code_of(0)) == ("410", "none")
