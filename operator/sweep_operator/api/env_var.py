"""Environment variables (core/v1 EnvVar), and the references to objects that they and the items may hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from sweep_operator.api.model import ApiModel
from sweep_operator.api.rule import Rule, checked_by

# Kubernetes' own limits: names are DNS subdomains of 253 characters, keys of ConfigMaps and Secrets have as many. Only
# the API server asks for the patterns of names: a sweep from before it did must still be read.
ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Field(json_schema_extra={"pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}),
]
# All of ASCII that can be printed, but for `=`.
VariableName = Annotated[
    str, StringConstraints(min_length=1, max_length=253), Field(json_schema_extra={"pattern": "^[ -<>-~]+$"})
]
DataKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class ConfigMapKey(ApiModel):
    """A key of a ConfigMap in the sweep's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: DataKey
    """Key in its data."""


class SecretKey(ApiModel):
    """A key of a Secret in the sweep's namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: DataKey
    """Key in its data."""
    optional: bool | None = None
    """Whether the variable may be left out where Secret or key are missing."""


class OptionalConfigMapKey(ConfigMapKey):
    """A key of a ConfigMap in the sweep's namespace."""

    optional: bool | None = None
    """Whether the variable may be left out where ConfigMap or key are missing."""


class FieldRef(ApiModel):
    """A field of the pod itself."""

    field_path: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Path of the field, for example `metadata.namespace`."""
    api_version: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Version of the schema the path is written in; v1 where absent."""


class EnvVarSource(ApiModel):
    """Where a variable's value comes from."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                check="[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)]"
                ".filter(given, given).size() == 1",
                static="valueFrom needs exactly one of secretKeyRef, configMapKeyRef and fieldRef",
            )
        )
    )

    secret_key_ref: SecretKey | None = None
    """A key of a Secret."""
    config_map_key_ref: OptionalConfigMapKey | None = None
    """A key of a ConfigMap."""
    field_ref: FieldRef | None = None
    """A field of the pod."""


class EnvVar(ApiModel):
    """An environment variable (core/v1 EnvVar)."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                check="!(has(self.value) && has(self.valueFrom))",
                static="value and valueFrom cannot both be given: remove one of them",
                message="'variable ' + self.name + ' has both value and valueFrom: remove one of them'",
            ),
            Rule(
                check="!self.name.startsWith('SWEEP_')",
                static="name may not start with SWEEP_, such names belong to the operator: choose another one",
                message="'name is ' + self.name + ' and may not start with SWEEP_, such names belong to the operator: "
                "choose another one'",
                field=".name",
            ),
        )
    )

    name: VariableName
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=32_768)] | None = None
    """Its value."""
    value_from: EnvVarSource | None = None
    """Where its value comes from."""
