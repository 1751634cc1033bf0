"""Checkpoints of single runs: each side's manifests and states, verified and loaded by the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from maddening.core.graph_manager import GraphManager
from maddening.core.simulation.checkpoint import (
    CheckpointIntegrityError,
    download_and_load_state,
    load_state_with_manifest,
    read_manifest,
    save_state_with_manifest,
    verify_manifest,
    write_manifest,
)
from maddening.nodes.spring import SpringDamperNode

from resumable_sweep._sources import damage_of
from resumable_sweep._state import load_state, save_state
from resumable_sweep.contract.manifest import Manifest, manifest_path, parsed_manifest, sha256_of_file


def simulation(steps: int) -> GraphManager:
    graph = GraphManager()
    graph.add_node(SpringDamperNode("spring", timestep=0.01, initial_position=0.5))
    graph.compile()
    for _ in range(steps):
        graph.step()
    return graph


def arrays_of(graph: GraphManager) -> dict[str, dict[str, np.ndarray]]:
    return {
        name: {field: np.asarray(value) for field, value in graph.get_node_state(name).items()}
        for name in graph.node_names
    }


def assert_same(graph: GraphManager, wanted: GraphManager) -> None:
    found, expected = arrays_of(graph), arrays_of(wanted)
    assert found.keys() == expected.keys()
    for name, fields in expected.items():
        assert found[name].keys() == fields.keys()
        for field, value in fields.items():
            np.testing.assert_array_equal(found[name][field], value)


def test_a_manifest_of_ours_is_verified_there(tmp_path: Path) -> None:
    file = tmp_path / "state.npz"
    file.write_bytes(b"any bytes")
    sha256, size_bytes = sha256_of_file(file)
    manifest_path(file).write_text(Manifest(sha256=sha256, size_bytes=size_bytes, extra={"step": 3}).to_json())
    verify_manifest(file)
    assert read_manifest(file)["extra"] == {"step": 3}
    file.write_bytes(b"any bytez")
    with pytest.raises(CheckpointIntegrityError, match="SHA-256 mismatch"):
        verify_manifest(file)


def test_a_manifest_of_theirs_is_verified_here(tmp_path: Path) -> None:
    file = tmp_path / "state.npz"
    file.write_bytes(b"any bytes")
    assert write_manifest(file, extra={"sim_time": 0.5}) == manifest_path(file)
    assert parsed_manifest(manifest_path(file).read_bytes()).extra == {"sim_time": 0.5}
    assert damage_of(file) is None
    file.write_bytes(b"any bytez")
    assert damage_of(file) == "state.npz does not hash to what its manifest says"


def test_a_state_saved_there_is_loaded_here(tmp_path: Path) -> None:
    graph = simulation(20)
    path, _ = save_state_with_manifest(graph, tmp_path / "run.npz", extra={"sim_time": 0.2})
    loaded = load_state(path)
    assert loaded is not None
    assert loaded.manifest is not None
    assert loaded.extra == {"sim_time": 0.2}
    found = loaded.nested_arrays()
    for name, fields in arrays_of(graph).items():
        for field, value in fields.items():
            np.testing.assert_array_equal(found[name][field], value)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The URL of the test's folder on an HTTP server of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("how", ["path", "file", "http"])
def test_a_state_saved_here_is_resumed_there(tmp_path: Path, address: str, how: str) -> None:
    uninterrupted = simulation(40)
    cut_off = simulation(25)
    path = save_state(tmp_path / "run.npz", arrays_of(cut_off), {"step": 25})
    resumed = simulation(0)
    if how == "path":
        manifest = load_state_with_manifest(resumed, path)
    else:
        url = path.as_uri() if how == "file" else f"{address}/run.npz"
        manifest = download_and_load_state(resumed, url, dest_dir=tmp_path / "into")
    assert manifest["extra"] == {"step": 25}
    assert_same(resumed, cut_off)
    for _ in range(15):
        resumed.step()
    assert_same(resumed, uninterrupted)


def test_a_state_saved_there_comes_here_by_http(tmp_path: Path, address: str) -> None:
    graph = simulation(5)
    save_state_with_manifest(graph, tmp_path / "run.npz", extra={"step": 5})
    loaded = load_state(f"{address}/run.npz")
    assert loaded is not None
    assert (loaded.extra, loaded.fell_back) == ({"step": 5}, None)
    np.testing.assert_array_equal(loaded.arrays()["spring/position"], arrays_of(graph)["spring"]["position"])
