"""The sidecar in its pod: small, silent about secrets, deaf to everybody but its session."""

from __future__ import annotations

import base64
import json

import pytest

from integration.probe.manifests import BASE_IMAGE, Workload, config_map, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import sidecar_pods
from integration.support.cluster import Cluster
from integration.support.namespaces import Namespace
from integration.support.product import Product
from telepresence_py.model.image import DEFAULT_IMAGE

REACHES = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
    print("yes")
except OSError:
    print("no")
"""


@pytest.mark.own_cluster
def test_the_image_adds_less_than_120_mb_to_its_base(cluster: Cluster, sidecar_image: None) -> None:
    sizes = {
        name: image["sizeBytes"]
        for node in cluster.get("nodes")
        for image in node["status"]["images"]
        for name in image["names"] or ()
    }
    assert sizes[DEFAULT_IMAGE] - sizes[BASE_IMAGE] < 120e6


def test_its_log_tells_the_host_key_and_in_whose_name_it_works(
    namespace: Namespace, product: Product
) -> None:
    settle(namespace, probe_config_map(), *Workload("frank").objects())
    with swapped(product, "frank") as swap:
        (pod,) = sidecar_pods(namespace)
        name = pod["metadata"]["name"]
        log = namespace.kubectl("logs", name, "-c", "main")
        assert "host key SHA256:" in log
        assert product.user.name in log
        assert pod["metadata"]["labels"]["telepresence-py/session"] in log
        assert swap.end() == 0


def test_other_pods_cannot_reach_the_tunnel(namespace: Namespace, product: Product) -> None:
    settle(namespace, probe_config_map(), *Workload("frank").objects())
    customer = namespace.ensure_customers_pod()
    with swapped(product, "frank") as swap:
        (pod,) = sidecar_pods(namespace)
        (main,) = (each for each in pod["spec"]["containers"] if each["name"] == "main")
        told = json.loads(base64.urlsafe_b64decode(main["args"][0]))
        address = pod["status"]["podIP"]
        reachable = {
            port: namespace.python_in_pod(customer, REACHES, address, str(port)).strip()
            for port in (8080, told["tunnel_port"])
        }
        assert reachable == {8080: "yes", told["tunnel_port"]: "no"}
        assert swap.end() == 0


def test_a_volume_that_is_too_large_is_told_and_left_out(namespace: Namespace, product: Product) -> None:
    """70 files of 1 MB in an emptyDir that an init container fills: more than is copied."""
    program = "for n in range(70): open(f'/large/{n}', 'wb').write(bytes(1 << 20))"
    filling = {
        "name": "filling",
        "image": BASE_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", program],
        "volumeMounts": [{"name": "large", "mountPath": "/large"}],
    }
    volumes = [{"name": "large", "emptyDir": {}}, {"name": "small", "configMap": {"name": "small"}}]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("large", "small")]
    laden = Workload(
        "laden",
        pod={"initContainers": [filling], "volumes": volumes},
        container={"volumeMounts": mounts},
    )
    settle(namespace, probe_config_map(), config_map("small", {"key": "value"}), *laden.objects())
    with swapped(product, "laden", "--volume", "/large=copy") as swap:
        assert "/large is not copied" in swap.running.err
        assert swap.probe.content("/small/key") == b"value"
        assert swap.end() == 0
