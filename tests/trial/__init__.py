"""A sweep on trial: applied to a real cluster, watched, robbed of its nodes, and held against an undisturbed run.

What the demo, the end-to-end tests and the benchmarks share.
"""
