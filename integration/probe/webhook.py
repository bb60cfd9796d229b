"""A mutating webhook that adds a container `injected` to pods, as service meshes do; runs in a pod.

    webhook.py CERTIFICATE KEY

`careful` ones (path /careful) look whether it is there already, also among the native sidecars; `careless`
ones (path /careless) add it to whatever has no ordinary container of that name; `native` ones (path /native)
look as the careful ones do, and add it as a native sidecar. Standard library only.
"""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import sys
from typing import Any


def injected(pod: dict[str, Any]) -> dict[str, Any]:
    """A probe on port 8082, like the pod's first container in all else."""
    model = next(
        one for one in pod["spec"]["containers"] if any(m["name"] == "probe" for m in one["volumeMounts"])
    )
    return {
        "name": "injected",
        "image": "docker.io/library/python:3.11-slim",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/probe/probe.py", "serve", "http:8082"],
        "env": [{"name": "PROBE_WHO", "value": "injected"}],
        "ports": [{"containerPort": 8082}],
        "securityContext": model.get("securityContext", {}),
        "volumeMounts": [{"name": "probe", "mountPath": "/probe"}],
    }


def patch(pod: dict[str, Any], manner: str) -> list[dict[str, Any]]:
    """RFC 6902 operations for that pod."""
    there = list(pod["spec"]["containers"])
    if manner != "careless":
        there += pod["spec"].get("initContainers", [])
    if any(container["name"] == "injected" for container in there):
        return []
    if manner == "native":
        native = injected(pod) | {"restartPolicy": "Always"}
        earlier = pod["spec"].get("initContainers", [])
        return [{"op": "add", "path": "/spec/initContainers", "value": [native, *earlier]}]
    return [{"op": "add", "path": "/spec/containers/-", "value": injected(pod)}]


class Review(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        operations = patch(request["object"], self.path.strip("/").partition("?")[0])
        response = {
            "uid": request["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(operations).encode()).decode(),
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server = http.server.ThreadingHTTPServer(("", 8443), Review)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
