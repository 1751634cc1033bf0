"""What the three clouds ask for what a store is asked, and what a year of a sweep comes to.

List prices in US dollars without discounts, free quotas and taxes, each for one region and class, as they stood on the
day that is given. A GiB is what the lists call a GB. Traffic between pods and a bucket of the same region is free on
all three, deletions too.
"""

from __future__ import annotations

from dataclasses import dataclass

DAYS = 365
_MONTHS = 12
_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars per million requests of a kind, and per GiB that is kept for a month."""

    store: str
    region: str
    storage_class: str
    create: float
    list: float
    get: float
    gib_month: float
    list_name: str
    source: str
    """Address of the list."""
    date: str
    """Day on which the list said so, by a public transcript of it."""


PRICES = (
    Price(
        store="Google Cloud Storage",
        region="us-central1",
        storage_class="Standard, regional, flat namespace",
        create=5.0,
        list=5.0,
        get=0.4,
        gib_month=0.020,
        list_name="Cloud Storage pricing",
        source="https://cloud.google.com/storage/pricing",
        date="2026-09-20",
    ),
    Price(
        store="Amazon S3",
        region="us-east-1",
        storage_class="Standard",
        create=5.0,
        list=5.0,
        get=0.4,
        gib_month=0.023,
        list_name="Price list of AmazonS3",
        source="https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonS3/current/us-east-1/index.json",
        date="2026-07-28",
    ),
    Price(
        store="Azure Blob Storage",
        region="eastus",
        storage_class="General Block Blob v2, Hot, LRS, flat namespace",
        create=5.0,
        # Seen for westus2 only, as of 2026-04-30.
        list=5.0,
        get=0.4,
        gib_month=0.0208,
        list_name="Azure Retail Prices",
        source="https://learn.microsoft.com/en-us/rest/api/cost-management/retail-prices/azure-retail-prices",
        date="2026-09-24",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one pod asks of its store in a day, and how many bytes the day leaves there."""

    creates: float
    lists: float
    gets: float
    left_bytes: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """US dollars."""

    requests: float
    storage: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.requests + self.storage


def year_of(price: Price, day: Usage, *, pods: int) -> Cost:
    """Return what a year costs in which so many pods have such a day every day, and nothing they leave is deleted.

    What is kept grows evenly from nothing, so half of what the year leaves is what a month has on the average.
    """
    asked = day.creates * price.create + day.lists * price.list + day.gets * price.get
    kept_gib = pods * DAYS * day.left_bytes / 2**30
    return Cost(requests=pods * DAYS * asked / _MILLION, storage=kept_gib / 2 * _MONTHS * price.gib_month)
