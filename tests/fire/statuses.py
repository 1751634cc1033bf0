"""What a kubelet writes into the status of a pod: the fields that it writes, in the forms that it gives them."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from fire.kube import Json


def now() -> str:
    """Return the time as the API has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def image_id(image: str) -> str:
    """Return the digest by which a runtime names what an image's name has brought: the same for the same name."""
    repository = image.partition("@")[0].rpartition(":")[0] or image
    return f"{repository}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def waiting(container: Json, reason: str = "PodInitializing", message: str = "") -> Json:
    """Return the status of a container that has not started yet."""
    said = {"reason": reason, **({"message": message} if message else {})}
    return _status(container, {"waiting": said}, ready=False, known=False)


def running(container: Json, since: str) -> Json:
    """Return the status of a container that runs."""
    return _status(container, {"running": {"startedAt": since}}, ready=True)


def ended(container: Json, code: int, *, since: str, message: str = "", reason: str = "") -> Json:
    """Return the status of a container that has ended."""
    terminated: dict[str, Any] = {
        "exitCode": code,
        "reason": reason or ("Error" if code else "Completed"),
        "startedAt": since,
        "finishedAt": now(),
        "containerID": _id_of(container, since),
    }
    if message:
        terminated["message"] = message
    return _status(container, {"terminated": terminated}, ready=False)


def condition(kind: str, status: bool, *, reason: str = "", message: str = "") -> Json:
    """Return a condition of a pod or a node."""
    said: Json = {"type": kind, "status": "True" if status else "False", "lastTransitionTime": now()}
    if reason:
        said["reason"] = reason
    if message:
        said["message"] = message
    return said


def _status(container: Json, state: Json, *, ready: bool, known: bool = True) -> Json:
    image = container["image"]
    return {
        "name": container["name"],
        "image": image,
        "imageID": image_id(image) if known else "",
        "ready": ready,
        "started": ready,
        "restartCount": 0,
        "state": state,
    }


def _id_of(container: Json, since: str) -> str:
    return "containerd://" + hashlib.sha256(f"{container['name']} {since}".encode()).hexdigest()
