from __future__ import annotations

import pytest

from sweep_operator.kube.client import ApiError
from sweep_operator.runtime.refusals import quota_retry_seconds, refusal_of

POD = 'pods "lr-1" is forbidden: '
QUOTA = "exceeded quota: compute, requested: pods=1, used: pods=4, limited: pods=4"
UNSPECIFIED = "failed quota: compute: must specify limits.cpu for: main; requests.cpu for: main"
SECURITY = 'violates PodSecurity "restricted:latest": runAsNonRoot != true'
TERMINATING = "unable to create new content in namespace ns because it is being terminated"
WEBHOOK = 'admission webhook "owner.example.com" denied the request: no owner'
POLICY = "ValidatingAdmissionPolicy 'owners' with binding 'all' denied request: no owner"
CALLING = 'Internal error occurred: failed calling webhook "owner.example.com": failed to call webhook: timeout'
LIMIT = "[maximum cpu usage per Container is 1, but limit is 2]"
RATIO = "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"
ACCOUNT = 'error looking up service account ns/runner: serviceaccount "runner" not found'
RIGHTS = 'User "o" cannot create resource "pods" in API group "" in the namespace "ns"'


@pytest.mark.parametrize(
    ("error", "reason", "seconds"),
    [
        (ApiError(403, POD + QUOTA), "QuotaExceeded", 5),
        (ApiError(403, POD + UNSPECIFIED), "QuotaUnspecified", 15),
        (ApiError(403, POD + SECURITY), "TemplateInvalid", 15),
        (ApiError(403, POD + TERMINATING, causes=("NamespaceTerminating",)), "NamespaceTerminating", 60),
        (ApiError(403, POD + LIMIT), "LimitRangeViolated", 15),
        (ApiError(403, POD + RATIO), "LimitRangeViolated", 15),
        (ApiError(403, POD + ACCOUNT), "ServiceAccountMissing", 15),
        (ApiError(403, POD + "no PriorityClass with name high was found"), "PriorityClassMissing", 15),
        (ApiError(403, POD + 'pod rejected: RuntimeClass "gvisor" not found'), "RuntimeClassMissing", 15),
        (ApiError(403, WEBHOOK), "AdmissionDenied", 15),
        (ApiError(400, WEBHOOK), "AdmissionDenied", 15),
        (ApiError(422, 'Pod "lr-1" is invalid: ' + POLICY), "AdmissionDenied", 15),
        (ApiError(500, CALLING), "WebhookFailed", 15),
        (ApiError(403, "pods is forbidden: " + RIGHTS), "PodForbidden", 15),
        (ApiError(403, POD + "not today"), "PodForbidden", 15),
        (ApiError(422, 'Pod "lr-1" is invalid: spec.containers[0].image: Required value'), "TemplateInvalid", 15),
        (ApiError(400, "unknown field"), "TemplateInvalid", 15),
        (ApiError(409, 'pods "lr-1" already exists', reason="AlreadyExists"), "NameTaken", 15),
        (ApiError(409, "the object has been modified", reason="Conflict"), "ApiUnavailable", 1),
        (ApiError(429, "slow down", retry_after=30), "ApiUnavailable", 30),
        (ApiError(500, "etcd"), "ApiUnavailable", 1),
        (ApiError(0, "no answer"), "ApiUnavailable", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_refusal_has_its_name_its_words_and_its_patience(error: ApiError, reason: str, seconds: float) -> None:
    refusal = refusal_of(error)
    assert (refusal.reason, refusal.retry_seconds) == (reason, seconds)
    words = error.message.rpartition(": ")[2].removesuffix("]")
    assert words in refusal.message
    mend = refusal.message.rpartition("; ")[2]
    assert mend not in error.message, "what to do stands at the end"


def test_one_trouble_of_many_pods_is_one_message() -> None:
    said = {refusal_of(ApiError(403, f'pods "lr-{number}" is forbidden: {QUOTA}')).message for number in range(3)}
    assert len(said) == 1
    assert said.pop().startswith(QUOTA)


def test_words_that_go_on_and_on_are_cut_before_the_mend() -> None:
    message = refusal_of(ApiError(422, "spec.containers[0].env: Invalid value: " + 400 * "long ")).message
    assert message.startswith("spec.containers[0].env: Invalid value: long")
    assert len(message) < 500
    assert "mend spec.template" in message


def test_a_quota_is_asked_less_and_less_often() -> None:
    assert [quota_retry_seconds(count) for count in (0, 1, 2, 3, 4, 5, 1000)] == [5, 5, 10, 20, 40, 60, 60]
