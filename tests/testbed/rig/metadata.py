"""The metadata server of a node: announces reclaims to its pods as Compute Engine, EC2 or Azure do.

What is announced stands in a file, which the testbed writes: when the machine goes (Unix seconds), null where it does
not. Of each cloud there is what tells of a spot machine's end and by which the cloud is known; all else is not found.
Sources: https://cloud.google.com/compute/docs/metadata/querying-metadata,
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html,
https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import parse_qs, urlsplit

Cloud = Literal["gce", "ec2", "azure"]
CLOUDS: tuple[Cloud, ...] = get_args(Cloud)
NOTICE_SECONDS: dict[Cloud, float] = {"gce": 30.0, "ec2": 120.0, "azure": 30.0}
"""How long ahead each cloud announces that it takes a spot machine."""
ADDRESS = "169.254.169.254"
_TOKEN = "testbed-session"
_LONGEST_WAIT_SECONDS = 300.0


@dataclass(frozen=True)
class Asked:
    """A request; the names in `headers` are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """An answer."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(cloud: Cloud, asked: Asked, *, node: str, goes_at: float | None) -> Answer:
    """Return what the cloud's server answers at this moment on the machine called ``node``."""
    if cloud == "gce":
        return _gce(asked, goes_at)
    if cloud == "ec2":
        return _ec2(asked, goes_at)
    return _azure(asked, node, goes_at)


def _gce(asked: Asked, goes_at: float | None) -> Answer:
    flavor = {"Metadata-Flavor": "Google"}
    if asked.path == "/":
        return Answer(200, "computeMetadata/\n", flavor)
    if asked.headers.get("metadata-flavor") != "Google":
        return Answer(403, "", flavor)
    values = {
        "/computeMetadata/v1/instance/preempted": "FALSE" if goes_at is None else "TRUE",
        "/computeMetadata/v1/instance/maintenance-event": "NONE",
    }
    value = values.get(asked.path)
    if value is None:
        return Answer(404, "", flavor)
    return Answer(200, value, {**flavor, "ETag": f"{zlib.crc32(value.encode()):016x}"})


def _ec2(asked: Asked, goes_at: float | None) -> Answer:
    if (asked.method, asked.path) == ("PUT", "/latest/api/token"):
        return Answer(200 if "x-aws-ec2-metadata-token-ttl-seconds" in asked.headers else 400, _TOKEN)
    if asked.headers.get("x-aws-ec2-metadata-token") != _TOKEN:
        return Answer(401)
    if asked.path == "/latest/meta-data/spot/instance-action" and goes_at is not None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(goes_at))
        return Answer(200, json.dumps({"action": "terminate", "time": at}))
    return Answer(404)


def _azure(asked: Asked, node: str, goes_at: float | None) -> Answer:
    if asked.headers.get("metadata") != "true":
        return Answer(400)
    if asked.path == "/metadata/instance/compute/name":
        return Answer(200, node)
    if asked.path != "/metadata/scheduledevents":
        return Answer(404)
    # Of the machine beside this one: the list has the events of others, too.
    events = [_preempt(f"{node}-neighbour", time.time() + 30)]
    if goes_at is not None:
        events.append(_preempt(node, goes_at))
    return Answer(200, json.dumps({"DocumentIncarnation": len(events), "Events": events}))


def _preempt(node: str, goes_at: float) -> dict[str, object]:
    return {
        "EventId": f"{node}-{goes_at:.0f}",
        "EventType": "Preempt",
        "ResourceType": "VirtualMachine",
        "Resources": [node],
        "EventStatus": "Scheduled",
        "NotBefore": formatdate(goes_at, usegmt=True),
        "EventSource": "Platform",
    }


def announce(file: Path, goes_at: float | None) -> None:
    """Have the server of that ``file`` announce that the machine goes then; None withdraws it."""
    staged = file.with_suffix(".new")
    staged.write_text(json.dumps(goes_at))
    staged.rename(file)


def announced(file: Path) -> float | None:
    """Return what is announced."""
    found = json.loads(file.read_text())
    return None if found is None else float(found)


class MetadataServer(ThreadingHTTPServer):
    """Serves one cloud's protocol. ``goes_at`` returns what is announced at that moment."""

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], *, cloud: Cloud, node: str, goes_at: Callable[[], float | None]
    ) -> None:
        self.cloud = cloud
        self.node = node
        self.goes_at = goes_at
        super().__init__(address, _Handler)

    def now(self, asked: Asked) -> Answer:
        """Return the answer to a request at this moment."""
        return answer(self.cloud, asked, node=self.node, goes_at=self.goes_at())


class _Handler(BaseHTTPRequestHandler):
    server: MetadataServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        reply = self.server.now(asked)
        if asked.query.get("wait_for_change") == "true" and reply.status == 200:
            reply = self._changed(asked, reply)
        body = reply.body.encode()
        self.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.do_GET()

    def _changed(self, asked: Asked, reply: Answer) -> Answer:
        """Return the answer once it is another than the one that is known, or when the time to wait is over."""
        known = asked.query.get("last_etag", reply.headers.get("ETag"))
        until = time.monotonic() + float(asked.query.get("timeout_sec", _LONGEST_WAIT_SECONDS))
        while reply.headers.get("ETag") == known and time.monotonic() < until:
            time.sleep(0.05)
            reply = self.server.now(asked)
        return reply

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: every pod asks all the time."""


def main() -> None:
    """Serve until the machine goes."""
    parser = argparse.ArgumentParser(prog="rig.metadata", description=__doc__)
    parser.add_argument("--cloud", choices=CLOUDS, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--file", type=Path, required=True, help="says what is announced")
    arguments = parser.parse_args()
    file: Path = arguments.file
    server = MetadataServer((ADDRESS, 80), cloud=arguments.cloud, node=arguments.node, goes_at=lambda: announced(file))
    server.serve_forever()


if __name__ == "__main__":
    main()
