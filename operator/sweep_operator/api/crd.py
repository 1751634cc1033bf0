"""The CustomResourceDefinition, made from the models.

python -m sweep_operator.api.crd [--check]
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from sweep_operator.api import names
from sweep_operator.api.generated import run_generator
from sweep_operator.api.structural import Schema, structural_schema
from sweep_operator.api.sweep import ResumableSweep

PATH = f"crds/{names.GROUP}_{names.PLURAL}.yaml"


def _column(name: str, path: str, kind: str, description: str, *, wide: bool = False) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "description": description, "jsonPath": path}
    # kubectl shows columns of a priority above 0 only with -o wide.
    return {**column, "priority": 1} if wide else column


COLUMNS = [
    _column("Phase", ".status.phase", "string", "Where the sweep stands."),
    _column("Done", ".status.done", "integer", "Items recorded in the store."),
    _column("Total", ".status.total", "integer", "Items in all, as far as known."),
    _column("Running", ".status.running", "integer", "Pods that are running."),
    _column("Reclaims", ".status.reclaims", "integer", "Pods lost for reasons outside of the program."),
    _column("Lost", ".status.lost", "integer", "Items that had not reached the store when their pod was lost."),
    _column("ETA", ".status.eta", "string", "How long it will take at the present rate."),
    _column("Age", ".metadata.creationTimestamp", "date", "Time since the sweep was created."),
    _column("Complete", ".status.shards.complete", "string", "Shards that are complete.", wide=True),
    _column("Attempts", ".status.attempts", "integer", "Attempts made so far.", wide=True),
    _column("Last-Hour", ".status.reclaimsLastHour", "integer", "Reclaims within the last hour.", wide=True),
    _column("Last-Signal", ".status.lastReclaim.signal", "string", "What the latest reclaim was known by.", wide=True),
    _column("Run-ID", ".status.runId", "string", "Name of the run in the store.", wide=True),
]


def root_schema() -> Schema:
    """Return the structural schema of the whole resource."""
    schema = structural_schema(ResumableSweep)
    # The API server owns these three: a schema may say no more than their type (apiextensions' own validation).
    schema["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    schema["required"] = ["spec"]
    # Defaults of a status would be written by whoever creates the object, before the operator has seen it.
    schema["properties"]["status"].pop("default", None)
    return schema


def custom_resource_definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition as the API server takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": names.LIST_KIND,
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": COLUMNS,
                    "schema": {"openAPIV3Schema": root_schema()},
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Spell out what stands in two places: not everything that reads definitions follows anchors."""
        return True


def manifest() -> str:
    """Return the CustomResourceDefinition as the text of its file."""
    head = "# Made from the models in operator/sweep_operator/api by `python -m sweep_operator.api.crd`: do not edit.\n"
    return head + str(
        yaml.dump(custom_resource_definition(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    )


if __name__ == "__main__":
    sys.exit(run_generator({PATH: manifest()}, description="Generate the CustomResourceDefinition."))
