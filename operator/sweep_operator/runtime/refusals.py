"""What a refused creation means, and when to ask again: a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweep_operator.kube.client import ApiError
from sweep_operator.model.observed import QUOTA_EXCEEDED, Role
from sweep_operator.pods.overreach import Overreach

TEMPLATE_INVALID = "TemplateInvalid"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A CamelCase reason for people, and the seconds to wait before asking again."""

    reason: str
    message: str
    retry_seconds: float


def refusal_of_items(error: ApiError, *, name: str) -> Refusal:
    """Return what it means that the ConfigMap `name`, which is to hold the items, could not be read."""
    if error.status == 404:
        message = f"ConfigMap {name} of spec.items.configMapKeyRef: {error.message}; create it, and the sweep goes on"
        return Refusal(reason="ItemsMissing", message=message, retry_seconds=5)
    return refusal_of(error)


def refusal_of(error: ApiError) -> Refusal:
    """Return what the API server's refusal of a pod means.

    A quota frees up when pods end; a template that is refused stays so until somebody mends it; the rest passes.
    """
    if error.status == 403 and "NamespaceTerminating" in error.causes:
        return Refusal(reason="NamespaceTerminating", message=error.message, retry_seconds=60)
    if error.status == 403 and "exceeded quota" in error.message:
        return Refusal(reason=QUOTA_EXCEEDED, message=error.message, retry_seconds=5)
    if error.status in (400, 422) or (error.status == 403 and "violates PodSecurity" in error.message):
        return Refusal(reason=TEMPLATE_INVALID, message=f"mend spec.template: {error.message}", retry_seconds=15)
    if error.status == 409:
        return Refusal(reason="NameTaken", message=f"delete what has this name: {error.message}", retry_seconds=15)
    if error.status == 403:
        return Refusal(reason="PodForbidden", message=error.message, retry_seconds=15)
    return Refusal(reason="ApiUnavailable", message=error.message, retry_seconds=max(1.0, error.retry_after))


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
