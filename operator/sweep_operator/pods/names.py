"""Names and labels of the objects that belong to a sweep."""

from __future__ import annotations

import hashlib

from sweep_operator.model.observed import Role

SWEEP = "resumable.dev/sweep"
SWEEP_UID = "resumable.dev/sweep-uid"
ROLE = "resumable.dev/role"
SHARD = "resumable.dev/shard"
ATTEMPT = "resumable.dev/attempt"
RANK = "resumable.dev/rank"
TEMPLATE = "resumable.dev/template-sha256"
MADE_OF = "resumable.dev/made-of-sha256"


def uid_hash(sweep_uid: str) -> str:
    """Return five characters that tell this sweep from one that had the same name before."""
    return hashlib.sha256(sweep_uid.encode()).hexdigest()[:5]


def attempt_pod_name(*, sweep: str, sweep_uid: str, shard: int, attempt: int) -> str:
    """Return the name of an attempt's pod."""
    return f"{sweep}-{uid_hash(sweep_uid)}-{shard}-{attempt}"


def housekeeping_pod_name(*, sweep: str, sweep_uid: str, role: Role) -> str:
    """Return the name of a housekeeping pod."""
    return f"{sweep}-{uid_hash(sweep_uid)}-{role}"


def items_config_map_name(*, sweep: str, sweep_uid: str) -> str:
    """Return the name of the ConfigMap that takes inline items to the pod that resolves them."""
    return f"{sweep}-{uid_hash(sweep_uid)}-items"


def labels(*, sweep: str, sweep_uid: str, role: Role) -> dict[str, str]:
    """Return the labels that every object of a sweep carries."""
    return {SWEEP: sweep, SWEEP_UID: sweep_uid, ROLE: role.value}
