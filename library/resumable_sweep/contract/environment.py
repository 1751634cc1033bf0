"""Names of the environment variables in a sweep's pod."""

from __future__ import annotations

# What every experiment container gets. Programs rely on these names: they never change.
NAME = "SWEEP_NAME"
NAMESPACE = "SWEEP_NAMESPACE"
RUN_ID = "SWEEP_RUN_ID"
SHARD = "SWEEP_SHARD"
SHARDS = "SWEEP_SHARDS"
ATTEMPT = "SWEEP_ATTEMPT"
ITEMS = "SWEEP_ITEMS"
SNAPSHOT_DIR = "SWEEP_SNAPSHOT_DIR"
RESUME_FROM = "SWEEP_RESUME_FROM"

NOTICE_FILE = "SWEEP_NOTICE_FILE"
"""File whose appearance asks a program that uses the library to stop; whoever runs the program sets it."""

# The same two under the names that the published package `maddening` reads.
MADDENING_RESUME_FROM = "RESUME_FROM_URL"
MADDENING_SNAPSHOT_DIR = "MADDENING_SNAPSHOT_DIR"

# What only the sidecar's containers get.
STORE_URL = "SWEEP_STORE_URL"
"""Folder of this run in the store: `<checkpoint.url>/<namespace>/<name>/<run id>`."""
CHECKPOINT_FILE = "SWEEP_CHECKPOINT_FILE"
"""Path, relative to the snapshot directory, that `SWEEP_RESUME_FROM` names."""
INTERVAL = "SWEEP_INTERVAL"
"""Seconds between two looks of the mirror at the snapshot directory."""
ITEMS_SHA256 = "SWEEP_ITEMS_SHA256"
"""Hash of the run's `items.jsonl`; empty where the program alone knows the items."""
POD_NAME = "SWEEP_POD_NAME"
POD_UID = "SWEEP_POD_UID"
PORT = "SWEEP_PORT"
"""TCP port of the mirror's probes and hooks."""
STOP_PATH = "SWEEP_STOP_PATH"
"""Unguessable HTTP path that the experiment containers' preStop hook asks; empty where a hook of the user's stands."""
REPORT_URL = "SWEEP_REPORT_URL"
"""Where the mirror pushes its reports; empty = nowhere."""
TOKEN_FILE = "SWEEP_TOKEN_FILE"
"""Projected ServiceAccount token of the operator's own audience."""
TEMPLATE_SHA256 = "SWEEP_TEMPLATE_SHA256"
"""Hash of the pod template this attempt was made from, kept in the store for provenance."""
PROGRAM_SHA256 = "SWEEP_PROGRAM_SHA256"
"""Hash of what the pod template says of the program besides its images: an attempt with another one is drift."""
IMAGES = "SWEEP_IMAGES"
"""Images of the experiment containers, comma-separated: an attempt with others is drift."""
ALLOW_DRIFT = "SWEEP_ALLOW_DRIFT"
"""What of an attempt may differ from what the run's results come from, comma-separated."""

TOKEN_AUDIENCE = "resumable.dev/operator"
PRIVATE_FOLDER = ".sweep"
"""Folder inside the snapshot directory that belongs to the sidecar and is never mirrored."""
