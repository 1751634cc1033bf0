"""The items of the sweeps here and what becomes of them: any process comes to the same results."""

from __future__ import annotations

import math
from typing import Any

ITEMS = [{"label": f"kappa-{number}", "kappa": number / 7, "shape": [number, number + 1]} for number in range(12)]


def result_of(item: dict[str, Any]) -> dict[str, Any]:
    kappa = item["kappa"]
    return {
        "label": item["label"],
        "speed": math.sin(kappa) / 3,
        "trace": [kappa**power for power in range(4)],
        "note": 'a "ü" \u2028 \U0001f600\n  }',
        "nested": {"empty": [], "none": None, "yes": True, "huge": 10**25, "inf": float("inf")},
    }


def label_of(item: dict[str, Any]) -> str:
    label: str = item["label"]
    return label
