"""What a refused creation means, and when to ask again: pure functions.

A full quota, a policy and a missing ServiceAccount all are status code 403: only the words differ, which come from
k8s.io/apiserver and from Kubernetes' own admission plugins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sweep_operator.kube.client import ApiError
from sweep_operator.model.observed import QUOTA_EXCEEDED, Role
from sweep_operator.model.problem import clipped
from sweep_operator.pods.overreach import Overreach

TEMPLATE_INVALID = "TemplateInvalid"
WEBHOOK_FAILED = "WebhookFailed"
QUOTA_RETRY_SECONDS = 5
QUOTA_RETRY_SECONDS_AT_MOST = 60


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A CamelCase reason for people, and the seconds to wait before asking again."""

    reason: str
    message: str
    retry_seconds: float


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A kind of refusal, told by a pattern of its words where the status code is one of `statuses`."""

    pattern: re.Pattern[str]
    reason: str
    mend: str
    statuses: tuple[int, ...] = (403,)
    seconds: float = 15


# The first that fits. A webhook may answer with any status code, and so may a ValidatingAdmissionPolicy.
_KINDS = (
    _Kind(
        pattern=re.compile(r"admission webhook .* denied the request|AdmissionPolicy '.*' denied request", re.DOTALL),
        statuses=tuple(range(400, 500)),
        reason="AdmissionDenied",
        mend="a policy of this cluster: change spec.template as it says, or ask who runs it",
    ),
    _Kind(
        pattern=re.compile(r"failed calling webhook"),
        statuses=(500, 502, 503, 504),
        reason=WEBHOOK_FAILED,
        mend="pods are made as soon as that webhook answers",
    ),
    _Kind(
        pattern=re.compile(r"exceeded quota"),
        reason=QUOTA_EXCEEDED,
        mend="pods are made when others end; or raise the quota, or lower spec.parallelism",
        seconds=QUOTA_RETRY_SECONDS,
    ),
    _Kind(
        pattern=re.compile(r"failed quota: .*must specify", re.DOTALL),
        reason="QuotaUnspecified",
        mend="set them in `resources` of all containers of spec.template, or have a LimitRange set them",
    ),
    _Kind(
        pattern=re.compile(r"violates PodSecurity"),
        reason=TEMPLATE_INVALID,
        mend="set the fields that it names in spec.template.spec",
    ),
    _Kind(
        pattern=re.compile(r"(maximum|minimum) \S+ usage per |max limit to request ratio per "),
        reason="LimitRangeViolated",
        mend="change `resources` in spec.template, or the namespace's LimitRange",
    ),
    _Kind(
        pattern=re.compile(r"error looking up service account|service account .* was not found"),
        reason="ServiceAccountMissing",
        mend="create it, or correct spec.template.spec.serviceAccountName",
    ),
    _Kind(
        pattern=re.compile(r"no PriorityClass with name"),
        reason="PriorityClassMissing",
        mend="create it, or correct spec.template.spec.priorityClassName",
    ),
    _Kind(
        pattern=re.compile(r"RuntimeClass .* not found"),
        reason="RuntimeClassMissing",
        mend="create it, or correct spec.template.spec.runtimeClassName",
    ),
    _Kind(
        pattern=re.compile(r"^User .* cannot create resource"),
        reason="PodForbidden",
        mend="give the operator the rights that its chart gives it",
    ),
)
# What stands before a refusal's own words. It names the pod, of which there may be thousands with the same trouble.
_OF_POD = re.compile(r'^(?:Pod|pods|configmaps) "[^"]*" is (?:forbidden|invalid): |^pods is forbidden: ')


def refusal_of_items(error: ApiError, *, name: str) -> Refusal:
    """Return what it means that the ConfigMap `name`, which is to hold the items, could not be read."""
    if error.status == 404:
        message = f"ConfigMap {name} of spec.items.configMapKeyRef: {error.message}; create it, and the sweep goes on"
        return Refusal(reason="ItemsMissing", message=message, retry_seconds=5)
    return refusal_of(error)


def is_name_taken(error: ApiError) -> bool:
    """Return whether an object was not created because there is one of its name.

    A quota that many pods change at once is answered with status 409, too (kubernetes/kubernetes#67761).
    """
    return error.status == 409 and error.reason == "AlreadyExists"


def refusal_of(error: ApiError) -> Refusal:
    """Return what the API server's refusal of a pod means.

    A quota frees up when pods end; a template that is refused stays so until somebody mends it; the rest passes.
    """
    said = _OF_POD.sub("", error.message)
    if error.status == 403 and "NamespaceTerminating" in error.causes:
        return _refusal("NamespaceTerminating", said, "nothing is made in it any more", seconds=60)
    for kind in _KINDS:
        if error.status in kind.statuses and kind.pattern.search(said):
            return _refusal(kind.reason, said, kind.mend, seconds=kind.seconds)
    if error.status in (400, 422):
        return _refusal(TEMPLATE_INVALID, said, "mend spec.template, or what else of spec these fields are made from")
    if is_name_taken(error):
        return _refusal("NameTaken", error.message, "delete what has this name")
    if error.status == 403:
        return _refusal("PodForbidden", said, "ask who runs this cluster, unless the words say what to mend")
    retry_seconds = max(1.0, error.retry_after)
    return _refusal("ApiUnavailable", error.message, "asked again until it answers", seconds=retry_seconds)


def _refusal(reason: str, said: str, mend: str, *, seconds: float = 15) -> Refusal:
    return Refusal(reason=reason, message=f"{clipped(said)}; {mend}", retry_seconds=seconds)


def quota_retry_seconds(refusals: int) -> float:
    """Return how long a quota is left alone after so many refusals in a row: 5 s, doubling up to a minute."""
    return float(min(QUOTA_RETRY_SECONDS_AT_MOST, QUOTA_RETRY_SECONDS << min(max(0, refusals - 1), 8)))


def refusal_of_overreach(found: Sequence[Overreach], *, role: Role, added: bool) -> Refusal:
    """Return what it means that a pod asks for what is not allowed; `added` where its template does not say so."""
    said = "; ".join(str(each) for each in found)
    if added:
        message = f"the cluster's admission (a webhook, or a default) has added to the {role} pod: {said}"
    elif role is Role.ATTEMPT:
        message = f"mend spec.template.spec: {said}"
    else:
        message = f"{role} pod, made of spec.template.spec and spec.checkpoint: {said}"
    return Refusal(reason="TemplateForbidden", message=message, retry_seconds=15)
