"""Containers that a mutating webhook injects stay with the pod, and let it end with the swap."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.probe.asking import HERE
from integration.probe.manifests import Object, Workload, config_map, probe_config_map, secret, service
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import (
    assert_nothing_touched,
    assert_restored,
    is_ready,
    remember,
    sidecar_pods,
)
from integration.support.namespaces import Namespace
from integration.support.product import Product


def certificate(directory: Path, host: str) -> tuple[str, str]:
    """A certificate for that host, signed by itself, and its key."""
    certificate_file, key_file = directory / "tls.crt", directory / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
         "-keyout", str(key_file), "-out", str(certificate_file)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate_file.read_text(), key_file.read_text()


def registration(namespace: Namespace, path: str, authority: str) -> Object:
    """For pods of this namespace that carry the label `inject`."""
    webhook: dict[str, Any] = {
        "name": "inject.telepresence-py.test",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {
            "service": {"namespace": namespace.name, "name": "webhook", "path": path},
            "caBundle": base64.b64encode(authority.encode()).decode(),
        },
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
        "objectSelector": {"matchLabels": {"inject": "yes"}},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        ],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": namespace.name},
        "webhooks": [webhook],
    }


@pytest.fixture
def injecting(request: pytest.FixtureRequest, namespace: Namespace, tmp_path: Path) -> Iterator[Namespace]:
    """A namespace with a webhook (of the path that the parameter says) and `meshed`, which it acts upon."""
    authority, key = certificate(tmp_path, f"webhook.{namespace.name}.svc")
    container = {
        "command": ["python3", "/webhook/webhook.py", "/tls/tls.crt", "/tls/tls.key"],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "volumeMounts": [{"name": "code", "mountPath": "/webhook"}, {"name": "tls", "mountPath": "/tls"}],
    }
    volumes = [
        {"name": "code", "configMap": {"name": "webhook"}},
        {"name": "tls", "secret": {"secretName": "webhook"}},
    ]
    webhook = Workload(
        "webhook", listen=(), ports=(), service=False, container=container, pod={"volumes": volumes}
    )
    settle(
        namespace,
        probe_config_map(),
        config_map("webhook", {"webhook.py": (HERE / "webhook.py").read_text()}),
        secret("webhook", {"tls.crt": authority, "tls.key": key}),
        service("webhook", 443, 8443),
        *webhook.objects(),
    )
    cluster = namespace.cluster
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(registration(namespace, request.param, authority)))
    try:
        meshed = Workload("meshed").deployment()
        meshed["spec"]["template"]["metadata"]["labels"]["inject"] = "yes"
        settle(namespace, meshed, service("meshed", 80, 8080))
        namespace.ensure_customers_pod()
        yield namespace
    finally:
        cluster.kubectl("delete", "mutatingwebhookconfiguration", namespace.name)


@pytest.mark.parametrize("injecting", ["/careful", "/native"], indirect=True)
def test_an_injected_container_is_a_native_sidecar_meanwhile(injecting: Namespace, product: Product) -> None:
    """Whether it is injected as an ordinary container or as a native sidecar."""
    (first,) = injecting.pods("app=meshed")
    before = remember(injecting, "meshed")
    with swapped(product, "meshed") as swap:
        pod = sidecar_pods(injecting, "meshed")[0]
        natives = {c["name"]: c.get("restartPolicy") for c in pod["spec"].get("initContainers", [])}
        assert natives == {"injected": "Always"}
        assert [c["name"] for c in pod["spec"]["containers"]] == ["main"]
        address = pod["status"]["podIP"]
        assert json.loads(injecting.ask(f"http://{address}:8082/"))["who"] == "injected"
        answer = swap.probe.ask("tcp", host=address, port=8082, send="GET / HTTP/1.0\r\n\r\n")
        assert '"who": "injected"' in answer["received"]
        assert json.loads(injecting.ask("http://meshed/"))["who"] == "laptop"
        assert swap.end() == 0
    assert_restored(before)
    original = injecting.pods("app=meshed")[0]
    assert is_ready(original)
    for kind in ("containers", "initContainers"):
        names = [[one["name"] for one in pod["spec"].get(kind, [])] for pod in (first, original)]
        assert names[0] == names[1]


@pytest.mark.parametrize("injecting", ["/careless"], indirect=True)
def test_a_webhook_that_would_outlive_the_sidecar_is_refused(injecting: Namespace, product: Product) -> None:
    """A pod in which an ordinary container runs on would not end with the session: an outage by kill -9."""
    before = remember(injecting, "meshed")
    ended = product.run("swap", "meshed", "--", "true")
    assert ended.code == 78
    assert "injected" in ended.err
    assert_nothing_touched(before)
