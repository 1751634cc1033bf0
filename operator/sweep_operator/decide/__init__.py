"""The decisions: pure functions from what is known to what shall be done."""

from sweep_operator.decide.sweep import decide

__all__ = ["decide"]
