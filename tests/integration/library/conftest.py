"""The real fake-gcs-server of the store's tests."""

from __future__ import annotations

from integration.store.conftest import bucket, emulator

__all__ = ["bucket", "emulator"]
