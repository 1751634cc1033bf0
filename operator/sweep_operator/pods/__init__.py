"""Builders of the objects that the operator creates: pure functions from a sweep to manifests."""
