"""A mutating admission webhook of the test's own, which the API server calls over TLS on loopback."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rig.api import Api
from rig.control_plane import ControlPlane

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"

Patch = list[dict[str, Any]]


@contextmanager
def mutating(
    control_plane: ControlPlane, api: Api, *, namespace: str, patch: Callable[[dict[str, Any]], Patch]
) -> Iterator[None]:
    """Have `patch`, which gets the request of the AdmissionReview, change the pods that are created in a namespace."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            changes = base64.b64encode(json.dumps(patch(review["request"])).encode()).decode()
            answer = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": changes}
            body = json.dumps({**review, "response": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    authority = control_plane.layout.authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("webhook", common_name="webhook", hosts=["127.0.0.1"]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    name = f"webhook-of-{namespace}"
    webhook = {
        "name": "pods.example.org",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "NoneOnDryRun",
        "failurePolicy": "Fail",
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_port}/",
            "caBundle": base64.b64encode(authority.certificate.read_bytes()).decode(),
        },
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    api.create(CONFIGURATIONS, {"metadata": {"name": name}, "webhooks": [webhook]})
    try:
        yield
    finally:
        api.delete(f"{CONFIGURATIONS}/{name}")
        server.shutdown()
        server.server_close()
        serving.join()
