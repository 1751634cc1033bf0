"""What the custom resource is called."""

from __future__ import annotations

from typing import Final

GROUP = "resumable.dev"
VERSION = "v1alpha1"
API_VERSION: Final = "resumable.dev/v1alpha1"
KIND: Final = "ResumableSweep"
LIST_KIND = "ResumableSweepList"
PLURAL = "resumablesweeps"
SINGULAR = "resumablesweep"
SHORT_NAME = "rsweep"
RETRY = "resumable.dev/retry"
"""The annotation of a sweep that names the failed shards to be run again."""
