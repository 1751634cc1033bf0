"""What becomes of a sweep that nobody changes: by it all others are judged."""

from __future__ import annotations

from mutations.played import Played
from mutations.stage import Stage
from mutations.sweeps import sweep_with


def take_reference(stage: Stage) -> None:
    """Run sweeps to their end, and note their results and how often one was written."""
    with stage.namespace() as namespace:
        ended = {field: _ended(Played(stage, namespace, sweep_with(field))) for field in ("shards", "items.matrix")}
    stage.reference, stage.reference_of_matrix = (each.status["merged"]["sha256"] for each in ended.values())
    seen = ended["shards"].seen
    assert seen is not None
    stage.usual_versions = seen.versions


def _ended(played: Played) -> Played:
    played.create()
    played.wait(lambda: played.phase == "Complete", "the end of a sweep that nobody changes")
    return played
