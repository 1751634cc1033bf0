"""`mirror`: the native sidecar that keeps the store up to date with the snapshot directory."""
