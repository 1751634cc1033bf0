"""The results of a run's shards together: gathered, put in order, written."""
