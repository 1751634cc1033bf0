"""A sweep as the documentation of mime-engine shows it: its own resume, and nothing of this project's."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np
from mime.data.sweep_resume import ResumableSweep
from mime.nodes.environment.stokeslet.stokeslet_matvec import stokeslet_matvec_numpy

COMBOS = [
    {"label": f"kappa-{kappa:.2f}-mu-{mu:.1f}", "kappa": kappa, "mu": mu}
    for kappa in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    for mu in (0.5, 1.0, 1.5, 2.0, 2.5)
]
_PACE_SECONDS = 1.0


def label_of(combo: dict[str, Any]) -> str:
    label: str = combo["label"]
    return label


def flow(combo: dict[str, Any]) -> dict[str, Any]:
    """Return the flow that a ring of forces makes along its axis, after a wait as for a GPU."""
    time.sleep(_PACE_SECONDS)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = combo["kappa"] * np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)
    axis = np.stack([np.zeros(5), np.zeros(5), np.linspace(0, 1, 5)], axis=1)
    forces = np.tile([0.0, 0.0, 1.0], (24, 1))
    velocity = stokeslet_matvec_numpy(axis, ring, forces, mu=combo["mu"], epsilon=0.01)
    return {"label": combo["label"], "velocity": velocity[:, 2].tolist(), "peak": float(velocity.max())}


def main() -> None:
    sweep = ResumableSweep(
        items=COMBOS,
        key=label_of,
        checkpoint_path="/tmp/confinement.h5",
        resume_from=os.environ.get("SWEEP_RESUME_FROM"),
        snapshot_dir=os.environ.get("SWEEP_SNAPSHOT_DIR"),
    )
    for combo in sweep.pending:
        result = flow(combo)
        print("ran", json.dumps(combo["label"]), flush=True)
        sweep.record(combo, result)


if __name__ == "__main__":
    main()
