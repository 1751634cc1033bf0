"""Whose metadata server this is."""

from __future__ import annotations

from collections.abc import Callable

from sweep_sidecar.notice.announcement import Reader
from sweep_sidecar.notice.azure import azure_reader
from sweep_sidecar.notice.ec2 import ec2_reader
from sweep_sidecar.notice.gce import FLAVOR, HEADERS, GceReader
from sweep_sidecar.notice.metadata import Fetch


def found_reader(fetch: Fetch, *, clock: Callable[[], float]) -> Reader | None:
    """Return what reads the metadata server that answers, None where it is of no cloud that is known here.

    Raises
    ------
    NoReply
        Where nothing answers.
    NoNotices
        Where it is known at once that it announces nothing to pods.
    """
    name, value = FLAVOR
    if fetch("/", HEADERS).headers.get(name) == value:
        return GceReader(fetch, clock=clock)
    return azure_reader(fetch, clock=clock) or ec2_reader(fetch, clock=clock)
