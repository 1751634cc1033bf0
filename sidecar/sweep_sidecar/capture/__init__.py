"""Taking a consistent copy of a directory that is being written to."""
