"""The operator: watches sweeps, pods and nodes, decides, and keeps each shard running until it is complete."""
