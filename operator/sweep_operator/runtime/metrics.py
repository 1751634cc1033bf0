"""What the operator counts for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The operator's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reclaims = Counter(
            "resumable_sweep_reclaims", "Attempts taken away, by winning signal.", ["signal"], registry=self.registry
        )
        self.relaunch_seconds = Histogram(
            "resumable_sweep_relaunch_seconds",
            "Seconds from the first sign of a reclaim to the creation of the replacement.",
            buckets=(0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600),
            registry=self.registry,
        )
        self.notices = Counter(
            "resumable_sweep_notices", "What clouds have announced, by notice.", ["kind"], registry=self.registry
        )
        self.false_alarms = Counter(
            "resumable_sweep_false_alarms",
            "Attempts that were presumed dead because nothing was heard of them, and were not.",
            registry=self.registry,
        )
        self.reconciles = Counter(
            "resumable_sweep_reconciles", "Looks at a sweep, by result.", ["result"], registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "resumable_sweep_reconcile_seconds", "Seconds that a look at a sweep took.", registry=self.registry
        )
        self.reports = Counter(
            "resumable_sweep_reports", "Reports that sidecars pushed, by answer.", ["code"], registry=self.registry
        )
        self.queue_length = Gauge(
            "resumable_sweep_queue_length", "Sweeps that wait for a look.", registry=self.registry
        )
        self.pods = Gauge("resumable_sweep_pods", "Pods of sweeps that exist.", registry=self.registry)
