"""What all models of the API share: camelCase on the wire, attribute docstrings as descriptions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """A part of the custom resource.

    Fields that a model does not know are passed over, not refused: the API server has already pruned what is not in
    the installed schema (and told whoever wrote it), so all that can arrive here unknown is a field of a newer
    version, and an operator that was rolled back must still be able to read its sweeps.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        extra="ignore",
    )

    def to_json(self) -> dict[str, Any]:
        """Return this part as the API server takes it: names in camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[AwareDatetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]
"""A moment, on the wire as Kubernetes writes its own: RFC 3339 in UTC, whole seconds (metav1.Time)."""
