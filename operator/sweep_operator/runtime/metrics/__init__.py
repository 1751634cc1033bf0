"""What the operator tells Prometheus."""

from sweep_operator.runtime.metrics.counted import Metrics

__all__ = ["Metrics"]
