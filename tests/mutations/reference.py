"""What becomes of a sweep that nobody changes: by it all others are judged."""

from __future__ import annotations

from mutations.played import Played
from mutations.stage import Stage
from mutations.sweeps import sweep_with


def take_reference(stage: Stage) -> None:
    """Run a sweep to its end, and note its results and how often it was written."""
    with stage.namespace() as namespace:
        played = Played(stage, namespace, sweep_with("shards"))
        played.create()
        played.wait(lambda: played.phase == "Complete", "the end of a sweep that nobody changes")
        stage.reference = played.status["merged"]["sha256"]
        seen = played.seen
        assert seen is not None
        stage.usual_versions = seen.versions
