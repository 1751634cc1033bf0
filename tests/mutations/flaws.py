"""Ways to break an operator, to see that the harness notices: each is called in its process before it starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sweep_operator.pods import attempt_pod, housekeeping_pod
from sweep_operator.runtime import execute, reconciler


def tells_of_no_change() -> None:
    """Go on saying of the first generation what is true of a later one."""
    written = execute.status_manifest

    def outdated(status: Any, sweep: Any) -> dict[str, Any]:
        return written(status, replace(sweep, generation=1))

    execute.status_manifest = outdated


def believes_templates() -> None:
    """Take it for granted that a template is what it should be."""

    def believed(template: Any, *, for_attempts: bool) -> Any:
        return template

    attempt_pod.checked = believed
    housekeeping_pod.checked = believed


def never_rests() -> None:
    """Look again at once, though nothing has changed and nothing is due."""
    decide = reconciler.decide

    def restless(snapshot: Any, now: float) -> Any:
        return replace(decide(snapshot, now), look_again_at=now)

    reconciler.decide = restless
