"""The log of a shard: what was taken, restored, mirrored, sealed and completed, by whom, in which order."""
