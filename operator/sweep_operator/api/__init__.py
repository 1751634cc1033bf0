"""The custom resource `ResumableSweep` in Python.

The models are the one source of the CustomResourceDefinition, of the API reference, and of what the operator reads and
writes.
"""

from __future__ import annotations

from sweep_operator.api.checkpoint import Checkpoint, Keep
from sweep_operator.api.duration import seconds_of
from sweep_operator.api.env_var import ConfigMapKey, EnvVar
from sweep_operator.api.names import API_VERSION, GROUP, KIND, PLURAL, RETRY, SHORT_NAME, VERSION
from sweep_operator.api.spec import (
    Budgets,
    InfrastructureBudget,
    Items,
    Placement,
    Pool,
    ReclaimBudget,
    Reclaiming,
    ResumableSweepSpec,
    Toleration,
)
from sweep_operator.api.status import (
    AvoidedNode,
    Condition,
    ItemsStatus,
    Merged,
    Phase,
    Reclaim,
    ReclaimCount,
    ResumableSweepStatus,
    Shards,
)
from sweep_operator.api.sweep import MAX_NAME_LENGTH, ResumableSweep

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "MAX_NAME_LENGTH",
    "PLURAL",
    "RETRY",
    "SHORT_NAME",
    "VERSION",
    "AvoidedNode",
    "Budgets",
    "Checkpoint",
    "Condition",
    "ConfigMapKey",
    "EnvVar",
    "InfrastructureBudget",
    "Items",
    "ItemsStatus",
    "Keep",
    "Merged",
    "Phase",
    "Placement",
    "Pool",
    "Reclaim",
    "ReclaimBudget",
    "ReclaimCount",
    "Reclaiming",
    "ResumableSweep",
    "ResumableSweepSpec",
    "ResumableSweepStatus",
    "Shards",
    "Toleration",
    "seconds_of",
]
