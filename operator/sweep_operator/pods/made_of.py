"""What pods are made of, as a digest: by it a pod that cannot start is told from what would be made today."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

from resumable_sweep.contract.canonical import canonical_json
from sweep_operator.model.snapshot import Sweep
from sweep_operator.pods.settings import PodSettings

_FIELDS = ("template", "placement", "checkpoint")


def made_of_sha256(sweep: Sweep, *, settings: PodSettings) -> str:
    """Return the digest of all by which a change could mend a pod: what its author wrote, and the sidecar's settings.

    It is compared with what the pod says of itself, not with the pod: a webhook may have changed that.
    """
    spec = sweep.manifest["spec"]
    installed = {**asdict(settings), "resources": dict(settings.resources)}
    of = {"spec": {field: spec.get(field) for field in _FIELDS}, "installed": installed}
    return hashlib.sha256(canonical_json(of).encode()).hexdigest()
