"""What becomes of sweeps: each is applied to a namespace, something happens to it, and it is taken away again."""

from __future__ import annotations

import random
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from fire.kube import Refused
from fire.player import HOWS, Player
from fire.sweep import NAME, sweep_body
from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from resumable_sweep.contract.report import REPORT_PATH, NoticeKind, Report, Stage
from rig.api import Api, ApiError

T = TypeVar("T")
SHARDS = 3
ITEMS = 6
_STEP_SECONDS = 180.0
_GONE_SECONDS = 60.0
_HURRIED_SECONDS = 15.0
"""Where there was trouble, kubelets may have given up: nothing may ever come about."""
_PATIENCE_SECONDS = 60.0
_QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}


class WentWrong(Exception):
    """What was waited for did not come, or something was seen that must never be."""


class Lives:
    """Sweeps of one namespace, one after another; `random` decides on what happens to each.

    Parameters
    ----------
    endpoint:
        URL of the operator.
    was_in_trouble:
        Whether the API server was, after a time (monotonic seconds).
    """

    def __init__(
        self,
        *,
        api: Api,
        player: Player,
        namespace: str,
        endpoint: str,
        random: random.Random,
        was_in_trouble: Callable[[float], bool],
        met: Counter[str],
    ) -> None:
        self._api = api
        self._player = player
        self._namespace = namespace
        self._endpoint = endpoint
        self._random = random
        self._was_in_trouble = was_in_trouble
        self._since = 0.0
        self._met = met
        self._core = f"/api/v1/namespaces/{namespace}"
        self._sweeps = f"/apis/resumable.dev/v1alpha1/namespaces/{namespace}/resumablesweeps"
        self._sweep = f"{self._sweeps}/{NAME}"

    def live(self) -> None:
        """Let one sweep come and go.

        Raises
        ------
        Exception
            Where something did not come about, as may be where the API server was away meanwhile.
        """
        self._since = time.monotonic()
        fates = (self._finishes, self._loses, self._pauses, self._changes, self._is_refused, self._is_announced)
        self._patiently(lambda: self._player.play(self._namespace))
        try:
            self._random.choice(fates)()
            self._met["sweeps that came to their end"] += 1
            # Where the API server was away, what is played may have failed.
            if not self._was_in_trouble(self._since) and (wrong := self._player.wrong(self._namespace)):
                raise WentWrong(f"{self._namespace}: {'; '.join(wrong)}")
        finally:
            self._clear()

    def _apply(self, **spec: Any) -> None:
        body = sweep_body(spec, shards=SHARDS, items=ITEMS)
        self._patiently(lambda: self._api.create(self._sweeps, body))
        self._met["sweeps"] += 1

    def _finishes(self) -> None:
        self._apply(ttlSecondsAfterFinished=1)
        self._wait(lambda: not self._is_there(), "the sweep to be deleted after its end")

    def _loses(self) -> None:
        shard, how = self._random.randrange(SHARDS), self._random.choice(HOWS)
        self._player.hold(self._namespace, shard, items=1)
        self._apply()
        self._wait_for_hold(shard)
        self._player.lose(self._namespace, shard, how=how)
        self._met[f"lost: {how}"] += 1
        self._player.release(self._namespace, shard)
        if how in ("silent", "partition"):
            self._player.bury(self._namespace)
        self._wait(lambda: self._phase() in ("Complete", "Failed"), f"the end after {how}")

    def _pauses(self) -> None:
        self._player.hold(self._namespace, 0, items=1)
        self._apply()
        self._wait_for_hold(0)
        self._change(suspend=True)
        self._wait(lambda: not self._pods("attempt"), "pods to be gone while suspended")
        self._met["suspended"] += 1
        self._player.release(self._namespace, 0)
        self._change(suspend=False)
        self._wait(lambda: self._phase() == "Complete", "the end after a pause")

    def _changes(self) -> None:
        """Be changed while it runs, and deleted before it ends."""
        self._player.hold(self._namespace, 0, items=1)
        self._apply(parallelism=1)
        self._wait_for_hold(0)
        self._change(parallelism=SHARDS, budgets={"userFailures": self._random.randrange(1, 9)})
        self._wait(lambda: self._done() >= 1, "progress")
        self._met["changed, and deleted while it ran"] += 1

    def _is_refused(self) -> None:
        self._patiently(lambda: self._api.create(f"{self._core}/resourcequotas", _QUOTA))
        self._wait(lambda: "hard" in (self._quota().get("status") or {}), "the quota to be in force")
        self._apply(items=None)
        self._wait(lambda: "QuotaExceeded" in str(self._status().get("conditions")), "a refusal")
        self._met["refused"] += 1

    def _is_announced(self) -> None:
        """Be told by the cloud that a machine goes, and by others what they may not say."""
        self._player.hold(self._namespace, 0, items=1)
        self._apply()
        self._wait_for_hold(0)
        pod = next(pod for pod in self._pods("attempt") if pod["metadata"]["labels"]["resumable.dev/shard"] == "0")
        labels = pod["metadata"]["labels"]
        report = Report(
            stage=Stage.MIRRORING,
            run_id="r",
            shard=0,
            attempt=int(labels["resumable.dev/attempt"]),
            sequence=int(time.time() * 1000) + 10**6,
            notice=NoticeKind.GCE_PREEMPTED,
        )
        token = self._patiently(lambda: self._token_of(pod))
        for said, expected in ((token, 200), (f"{token}-forged", 403)):
            if self._push(said, replace(report, sequence=report.sequence + expected)) == expected:
                self._met[f"pushed, answer {expected}"] += 1
        self._player.release(self._namespace, 0)
        self._wait(lambda: self._phase() == "Complete", "the end after a notice")

    def _clear(self) -> None:
        """Take away all that there is in the namespace, whatever has become of it."""
        begin = time.monotonic()
        self._patiently(lambda: self._api.delete(self._sweep))
        self._patiently(lambda: self._api.delete(f"{self._core}/resourcequotas/none"))
        while self._patiently(self._leftovers):
            if time.monotonic() > begin + self._limit(_GONE_SECONDS):
                # Their kubelet has given up while the API server was away.
                for pod in self._pods():
                    self._patiently(lambda path=pod["metadata"]["name"]: self._end_now(path))  # type: ignore[misc]
            time.sleep(0.1)
        try:
            self._player.leave(self._namespace)
        except Refused:
            self._met["players that were interrupted"] += 1
        for collection in ("/api/v1/nodes", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"):
            for each in self._patiently(lambda path=collection: self._api.get(path))["items"]:  # type: ignore[misc]
                name = each["metadata"]["name"]
                if name.startswith(f"{self._namespace}-"):
                    self._patiently(lambda path=f"{collection}/{name}": self._api.delete(path))  # type: ignore[misc]

    def _leftovers(self) -> list[str]:
        left = [*self._pods(), *self._api.get(self._sweeps)["items"]]
        return [each["metadata"]["name"] for each in left]

    def _end_now(self, pod: str) -> bool:
        return self._api.delete(f"{self._core}/pods/{pod}", {"gracePeriodSeconds": 0})

    def _change(self, **spec: Any) -> None:
        self._patiently(lambda: self._api.patch(self._sweep, {"spec": spec}))

    def _status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self._api.get(self._sweep).get("status") or {}
        except ApiError as error:
            if error.status != 404:
                raise
            return {}
        return found

    def _quota(self) -> dict[str, Any]:
        found: dict[str, Any] = self._api.get(f"{self._core}/resourcequotas/none")
        return found

    def _phase(self) -> str:
        return str(self._status().get("phase"))

    def _done(self) -> int:
        return int(self._status().get("done") or 0)

    def _is_there(self) -> bool:
        return bool(self._api.get(self._sweeps)["items"])

    def _pods(self, role: str = "") -> list[dict[str, Any]]:
        wanted = f"%2Cresumable.dev%2Frole%3D{role}" if role else ""
        query = f"labelSelector=resumable.dev%2Fsweep{wanted}"
        found: list[dict[str, Any]] = self._patiently(lambda: self._api.get(f"{self._core}/pods?{query}"))["items"]
        return found

    def _wait_for_hold(self, shard: int) -> None:
        self._wait(lambda: self._player.holds(self._namespace, shard), f"shard {shard} to stand still")

    def _wait(self, condition: Callable[[], Any], what: str) -> None:
        begin = time.monotonic()
        while not self._patiently(condition):
            if time.monotonic() > begin + self._limit(_STEP_SECONDS):
                raise WentWrong(f"{self._namespace}: waited in vain for {what}: {self._status().get('conditions')}")
            time.sleep(0.1)

    def _limit(self, seconds: float) -> float:
        return _HURRIED_SECONDS if self._was_in_trouble(self._since) else seconds

    def _patiently(self, step: Callable[[], T]) -> T:
        """Take a step again while the API server does not answer."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return step()
            except (ApiError, Refused) as error:
                if 0 < error.status < 500 or time.monotonic() > until:
                    raise
                self._met["requests without an answer"] += 1
                time.sleep(0.3)

    def _push(self, token: str, report: Report) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(self._endpoint + REPORT_PATH, data=report.to_json().encode(), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def _token_of(self, pod: dict[str, Any]) -> str:
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        spec = {"audiences": [TOKEN_AUDIENCE], "boundObjectRef": bound}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self._api.create(f"{self._core}/serviceaccounts/default/token", request)["status"]["token"])
