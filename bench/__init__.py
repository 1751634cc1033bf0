"""Benchmarks: each module's `figures()` returns rows of figure, value, unit, peer, goal and whether the goal holds."""
