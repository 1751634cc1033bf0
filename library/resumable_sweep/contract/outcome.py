"""How a sidecar container ended: its exit code, and the termination message that says the same in words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

MESSAGE_PATH = "/dev/termination-log"
MESSAGE_LIMIT_BYTES = 4096
"""The kubelet cuts a longer termination message (pkg/kubelet/container, MaxContainerTerminationMessageLength)."""
ATTEMPT_MESSAGE_LIMIT_BYTES = 1536
"""It also cuts those of a pod's containers to equal shares of 12 KiB (MaxPodTerminationMessageLogLength): this is what
is left to each in a pod of eight, and in that of an attempt all but two are the user's."""
_SENTENCES = ("message", "restore_message", "left_alone")
"""Details that are for people, and may be cut."""


class Exit(IntEnum):
    """Exit codes of `restore` and of the housekeeping roles.

    The mirror's exit code means nothing: Kubernetes never lets a sidecar's code decide a pod's phase.
    """

    OK = 0
    USAGE = 64
    """The environment or the URL is wrong (EX_USAGE of sysexits.h)."""
    ITEMS_INVALID = 65
    STORE_UNREACHABLE = 69
    """Could not read or write: says nothing about what is there."""
    FAILED = 70
    COMPLETE = 80
    """The shard's log ends in `complete`: there is nothing left to run."""
    SUPERSEDED = 81
    """A higher attempt has taken the shard."""
    CHECKPOINT_CORRUPT = 82
    RESUME_FILE_MISSING = 83
    ITEMS_CHANGED = 84
    STORE_NOT_CREATE_ONLY = 85
    INCOMPLETE = 86
    """A merge found a shard whose log has no `complete`, or items neither done nor skipped."""
    DUPLICATE_KEYS = 87
    DRIFT = 88
    """The attempt is made of something else than the run's results so far."""
    SNAPSHOT_VOLUME_TOO_SMALL = 89
    """The checkpoint does not fit into the snapshot directory."""


@dataclass(frozen=True)
class Outcome:
    """The termination message of a sidecar container.

    `reason` is a CamelCase word (`Restored`, `FreshStart`, `StoreUnreachable`, `Merged`, ...), `message` a sentence
    for a person, `details` what the operator needs (a report's fields, or a URL, hash and counts).
    """

    reason: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self, *, limit_bytes: int = MESSAGE_LIMIT_BYTES) -> str:
        """Return the message as JSON that fits into what the kubelet keeps; the longest sentences are cut."""
        message, details = self.message, dict(self.details)
        while True:
            text = json.dumps({"reason": self.reason, "message": message, "details": details})
            excess = len(text.encode()) - limit_bytes
            sentences = {name: details[name] for name in _SENTENCES if isinstance(details.get(name), str)}
            longest = max(sentences, key=lambda name: len(sentences[name]), default="")
            if excess <= 0 or not (message or any(sentences.values())):
                return text
            # Not all of it at once: the same sentence may stand in both places.
            fewer = max(excess // 4, 16)
            if longest and len(sentences[longest]) > len(message):
                details[longest] = sentences[longest][:-fewer]
            else:
                message = message[:-fewer]


def parsed_outcome(text: str) -> Outcome | None:
    """Return the outcome that a termination message holds, None where it holds none (a crash's own words)."""
    try:
        fields = json.loads(text)
        return Outcome(str(fields["reason"]), str(fields["message"]), dict(fields["details"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        # Whoever may create pods may write anything there: 4,096 opening brackets are more than a reader goes down.
        return None
