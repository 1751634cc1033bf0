"""A tag comes to mean another image while a sweep runs: no attempt goes on with that one."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
import urllib.request
from typing import Any

import pytest

from trial.cluster import wait_until
from trial.script import after_items
from trial.sweep import Sweep

pytestmark = pytest.mark.e2e

_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


class MovingTag:
    """The tag `moving` beside an image's own, and what it can be made to mean."""

    def __init__(self, registry_address: str, reference: str) -> None:
        name, _, tag = reference.partition("/")[2].rpartition(":")
        self.reference = f"{reference.rpartition(':')[0]}:moving"
        self._repository = f"http://{registry_address}/v2/{name}"
        request = urllib.request.Request(f"{self._repository}/manifests/{tag}", headers={"Accept": _TYPES})
        with _opener().open(request, timeout=30) as answer:
            self._type, self.right = answer.headers["Content-Type"], answer.read()
        # The same layers: what is wrong with such an image nobody could tell from its results. Not the same
        # configuration, by which a node knows an image: it would tell either digest of one that it has under two.
        manifest = json.loads(self.right)
        with _opener().open(f"{self._repository}/blobs/{manifest['config']['digest']}", timeout=30) as answer:
            changed = json.dumps({**json.loads(answer.read()), "author": "somebody else"}).encode()
        manifest["config"] |= {"digest": self._uploaded(changed), "size": len(changed)}
        self.wrong = json.dumps(manifest).encode()

    def point_at(self, manifest: bytes) -> str:
        """Let the tag mean this image, and return its digest."""
        request = urllib.request.Request(
            f"{self._repository}/manifests/moving", data=manifest, method="PUT", headers={"Content-Type": self._type}
        )
        _opener().open(request, timeout=30).close()
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    def _uploaded(self, blob: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        begin = urllib.request.Request(f"{self._repository}/blobs/uploads/", method="POST")
        with _opener().open(begin, timeout=30) as answer:
            place = urllib.parse.urljoin(self._repository, answer.headers["Location"])
        end = f"{place}{'&' if '?' in place else '?'}digest={urllib.parse.quote(digest)}"
        request = urllib.request.Request(
            end, data=blob, method="PUT", headers={"Content-Type": "application/octet-stream"}
        )
        _opener().open(request, timeout=30).close()
        return digest


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def test_a_tag_that_moves_is_drift_until_it_is_moved_back(ground: Any, reference: Sweep) -> None:
    tag = MovingTag(ground.testbed.registry_address, ground.images["pacer"])
    right = tag.point_at(tag.right)
    sweep = Sweep(ground.cluster(), namespace="trials", name="moving")
    manifest = reference.cluster.get(reference.path)
    manifest = {name: manifest[name] for name in ("apiVersion", "kind", "spec")}
    manifest["metadata"] = {"name": sweep.name, "namespace": sweep.namespace}
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container |= {"image": tag.reference, "imagePullPolicy": "Always"}
    sweep.apply(manifest)
    try:
        wait_until(after_items(sweep, 3), what="three durable items", seconds=120)
        assert sweep.status()["images"] == {tag.reference: [right]}
        wrong = tag.point_at(tag.wrong)
        struck = sweep.working_pods()[0]
        ground.testbed.reclaim_pod(struck["metadata"]["name"], namespace="trials")
        wait_until(lambda: bool(sweep.events("Drift")), what="the drift to be told", seconds=90)
        said = sweep.events("Drift")[0]["message"]
        assert right in said
        assert wrong in said
        tag.point_at(tag.right)
        status = sweep.wait_for_phase("Complete", "Failed", seconds=300)
        assert status["phase"] == "Complete", status
        assert status["images"] == {tag.reference: [right]}
        assert status["merged"]["sha256"] == reference.status()["merged"]["sha256"]
    finally:
        sweep.delete()
