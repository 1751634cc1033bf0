from __future__ import annotations

import pytest

from sweep_operator.kube.client import ApiError
from sweep_operator.runtime.refusals import refusal_of

QUOTA = 'pods "lr-1" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=4, limited: pods=4'
SECURITY = 'pods "lr-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
TERMINATING = 'pods "lr-1" is forbidden: unable to create new content in namespace ns because it is being terminated'


@pytest.mark.parametrize(
    ("error", "reason", "seconds"),
    [
        (ApiError(403, QUOTA), "QuotaExceeded", 5),
        (ApiError(403, SECURITY), "TemplateInvalid", 15),
        (ApiError(403, TERMINATING, causes=("NamespaceTerminating",)), "NamespaceTerminating", 60),
        (ApiError(403, "user may not create pods"), "PodForbidden", 15),
        (ApiError(422, "spec.containers[0].image: Required value"), "TemplateInvalid", 15),
        (ApiError(400, "unknown field"), "TemplateInvalid", 15),
        (ApiError(409, "already exists"), "NameTaken", 15),
        (ApiError(429, "slow down", retry_after=30), "ApiUnavailable", 30),
        (ApiError(500, "etcd"), "ApiUnavailable", 1),
        (ApiError(0, "no answer"), "ApiUnavailable", 1),
    ],
    ids=["quota", "pod security", "namespace", "rights", "invalid", "malformed", "name", "429", "500", "silence"],
)
def test_each_refusal_has_its_name_and_its_patience(error: ApiError, reason: str, seconds: float) -> None:
    refusal = refusal_of(error)
    assert (refusal.reason, refusal.retry_seconds) == (reason, seconds)
    assert error.message in refusal.message
