"""The shop's image and objects, in the project's own cluster."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from integration.support.cluster import Cluster, cache_directory, cluster_tool
from integration.support.namespaces import Namespace

HERE = Path(__file__).parent
NAMESPACE = "shop"
SERVICES = ("database", "stock", "orders", "storefront")
IMAGE_IN_MANIFEST = "localhost/telepresence-py-demo-shop:1"


def image_archive(cache: Path) -> tuple[str, Path]:
    """The shop's image as (reference, archive), built unless `cache` has one made of the same files."""
    parts = [HERE / "Dockerfile", *sorted((HERE / "shop").glob("*.py"))]
    content = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    reference = f"{IMAGE_IN_MANIFEST.rpartition(':')[0]}:{content}"
    archive = cache / f"shop-{content}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for stale in cache.glob("shop-*"):
            stale.unlink()
        cluster_tool("build-image", reference, str(HERE / "Dockerfile"), str(HERE))
        unfinished = archive.with_suffix(".new")
        cluster_tool("save-image", reference, str(unfinished))
        unfinished.rename(archive)
    return reference, archive


def deploy(cluster: Cluster) -> Namespace:
    """Bring the shop to its declared state and wait until every service of it is rolled out."""
    reference, archive = image_archive(cache_directory() / "demo")
    cluster_tool("load", str(archive))
    namespace = Namespace(cluster, NAMESPACE)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    manifest = (HERE / "shop.yaml").read_text().replace(IMAGE_IN_MANIFEST, reference)
    namespace.kubectl("apply", "-f", "-", stdin=manifest)
    for service in SERVICES:
        namespace.wait_rolled_out(service, 120)
    # one that an earlier version of the demo left may not be changed into today's
    namespace.kubectl("delete", "pod", "customers", "--ignore-not-found", "--grace-period=1")
    namespace.ensure_customers_pod()
    return namespace
