"""Programs that know nothing of this project lose their node, all at once, and end as if nothing had been.

Each runs twice: on a node that nobody touches, and on one that goes. `make test` shuts that node down, so that each
program ends in its own manner; `make test-clients` tries every way in which a program can lose its pod.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from sweep_sidecar.log.entry import Kind
from trial.client import CLIENTS
from trial.cluster import wait_until
from trial.ground import Ground
from trial.ledger import ledger_of
from trial.observer import Observer
from trial.sweep import Sweep

# The first test waits for the whole of two runs, on a busy machine with a gigabyte of images before them.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAMESPACE = "clients"
SPOT_NODES = 4
STRUCK, SPARED = "spot-1", "spot-2"
# What may win, by what was done. Which evidence is seen first can differ from run to run.
SIGNALS = {
    "shutdown": {"NodeShuttingDown", "TerminationByKubelet"},
    "kill": {"NodeGone", "NodeUnreachable", "DeletionByPodGC"},
    "notice": {"GcePreempted"},
    "delete-pod": {"PodDeleted", "PodVanished"},
}
TELLING = {"notice", "delete-pod"}
"""Where a program is told to stop, and its kubelet says how it ended: one that shuts down waits until all have."""
_BEGUN = 3
_MOST_RERUN = 7
"""What an interval of the mirror and a look may hold back, at a step a second, and the step at hand."""


@dataclass(frozen=True)
class Run:
    """A sweep of each client, by its name, and who watches it."""

    sweeps: Mapping[str, Sweep]
    observers: Mapping[str, Observer]

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of all."""
        return [pod for sweep in self.sweeps.values() for pod in sweep.pods()]

    def steps(self, client: str) -> int:
        """Return how many steps the client's program has printed, over all its attempts."""
        return self.observers[client].work_done().total()

    def wait_until_begun(self, ground: Ground) -> None:
        """Wait until each program has done some steps, and something of each is stored."""
        for name, sweep in self.sweeps.items():
            ledger = ledger_of(sweep, environment=ground.local_env)
            wait_until(
                lambda name=name, ledger=ledger: (  # type: ignore[misc]
                    self.steps(name) >= _BEGUN and any(entry.kind is Kind.GEN for entry in ledger.entries(0))
                ),
                what=f"{_BEGUN} steps of {name}, and a generation",
                seconds=180,
                clue=lambda sweep=sweep: f"{sweep.status()}",  # type: ignore[misc]
            )

    def wait_until_complete(self) -> None:
        """Wait for the end of all sweeps."""
        for sweep in self.sweeps.values():
            status = sweep.wait_for_phase("Complete", "Failed", seconds=300)
            assert status["phase"] == "Complete", f"{sweep.name}: {status}"

    def remove(self) -> None:
        """Remove all sweeps."""
        for name, sweep in self.sweeps.items():
            self.observers[name].close()
            sweep.delete()


@pytest.fixture(scope="session")
def place(ground: Ground) -> Ground:
    """The cluster, with the clients' images."""
    assert ground.testbed is not None
    pushed = ground.testbed.push_images(*sorted({client.image for client in CLIENTS.values()}))
    return dataclasses.replace(ground, images={**ground.images, **pushed})


def begin(place: Ground, *, prefix: str) -> Run:
    sweeps, observers = {}, {}
    for name, client in CLIENTS.items():
        sweep = sweeps[name] = Sweep(place.cluster(), namespace=NAMESPACE, name=f"{prefix}-{name}")
        sweep.apply(client.manifest(place, name=sweep.name, namespace=NAMESPACE))
        observers[name] = Observer(sweep)
    return Run(sweeps=sweeps, observers=observers)


@pytest.fixture(scope="session")
def undisturbed(place: Ground) -> Iterator[list[Run]]:
    """The run that nobody disturbs: none before somebody has begun it."""
    runs: list[Run] = []
    yield runs
    for run in runs:
        run.remove()


@pytest.fixture(
    scope="module",
    params=["shutdown", *(pytest.param(how, marks=pytest.mark.matrix) for how in SIGNALS if how != "shutdown")],
)
def how(request: pytest.FixtureRequest) -> str:
    """How the pods go."""
    return str(request.param)


@pytest.fixture(scope="module")
def disturbed(place: Ground, undisturbed: list[Run], how: str) -> Iterator[Run]:
    """A run whose pods all went in the middle of their work, from one node."""
    assert place.testbed is not None
    place.testbed.up(nodes=SPOT_NODES + 1, spot=SPOT_NODES)
    have_images(place, STRUCK, SPARED)
    leave_open(place, STRUCK)
    run = begin(place, prefix=how)
    try:
        run.wait_until_begun(place)
        leave_open(place, SPARED)
        if not undisturbed:
            undisturbed.append(begin(place, prefix="undisturbed"))
        strike(place, run, how=how)
        run.wait_until_complete()
        yield run
    finally:
        run.remove()


def have_images(place: Ground, *nodes: str) -> None:
    """Have the nodes pull the images now: at the end of half a gigabyte the fastest client would have finished."""
    cluster, pods = place.cluster(), "/api/v1/namespaces/default/pods"
    images = {name: place.images[name] for name in ("sidecar", *(client.image for client in CLIENTS.values()))}
    for node in nodes:
        containers = [{"name": name, "image": image, "command": ["true"]} for name, image in images.items()]
        spec = {"nodeName": node, "restartPolicy": "Never", "containers": containers}
        cluster.create(pods, {"metadata": {"name": f"images-on-{node}"}, "spec": spec})
    for node in nodes:
        pod = f"{pods}/images-on-{node}"
        wait_until(
            lambda pod=pod: cluster.get(pod)["status"].get("phase") == "Succeeded",  # type: ignore[misc]
            what=f"{node} to pull the images",
            seconds=240,
            clue=lambda pod=pod: str(cluster.get(pod)["status"]),  # type: ignore[misc]
        )
        cluster.delete(pod, {"gracePeriodSeconds": 0})


def leave_open(place: Ground, node: str) -> None:
    """Let new pods onto this node, and onto no other."""
    cluster = place.cluster()
    for each in cluster.get("/api/v1/nodes")["items"]:
        name = each["metadata"]["name"]
        if name.startswith("spot-"):
            cluster.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": name != node}})


def strike(place: Ground, run: Run, *, how: str) -> None:
    if how == "kill":
        place.faults.kill(STRUCK)
    elif how == "shutdown":
        place.faults.shutdown(STRUCK)
    elif how == "notice":
        assert place.testbed is not None
        # Sooner than the cloud would: what knows of no notice works on, and must not come to its end.
        place.testbed.announce(STRUCK, then="shutdown", after=6)
    else:
        cluster = place.cluster()
        for pod in run.pods():
            cluster.delete(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}")


@pytest.mark.parametrize("client", CLIENTS)
def test_it_ends_as_if_nothing_had_been(
    place: Ground, disturbed: Run, undisturbed: list[Run], how: str, client: str
) -> None:
    sweep = disturbed.sweeps[client]
    status = sweep.status()
    assert status["reclaims"] == 1
    assert set(status["reclaimsBySignal"]) <= SIGNALS[how]
    # It went on: what it had done first was not done again, and of the rest only what was not stored yet.
    first, *later = disturbed.observers[client].attempts()
    assert later
    assert first.ran[0] not in {step for attempt in later for step in attempt.ran}
    work = disturbed.observers[client].work_done()
    assert work.total() - len(work) <= _MOST_RERUN
    if CLIENTS[client].exit_on_sigterm is not None and how in TELLING:
        assert first.exit_code == CLIENTS[client].exit_on_sigterm
    undisturbed[0].wait_until_complete()
    assert undisturbed[0].sweeps[client].status()["attempts"] == 1
    files, merged = CLIENTS[client].outcome(sweep, place)
    assert (files, merged) == CLIENTS[client].outcome(undisturbed[0].sweeps[client], place)
