"""Argo's custom resource by its group and kind alone: no controller acts on it, the tests themselves do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from integration.probe.manifests import Object
from integration.support.cluster import KubectlFailed
from integration.support.namespaces import Namespace

API_VERSION = "argoproj.io/v1alpha1"
NAME = "rollouts.argoproj.io"


@contextlib.contextmanager
def rollouts(namespace: Namespace) -> Iterator[None]:
    """Rollouts can be made in that namespace within the block; after it they are gone, and so is the kind.

    A cluster that has the kind already keeps it, and so does one in which others use ours meanwhile.
    """
    cluster = namespace.cluster
    with contextlib.suppress(KubectlFailed):
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(_definition()))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=20s")
    yield
    namespace.kubectl("delete", NAME, "--all")
    ours = cluster.get("crd", NAME)["metadata"].get("labels", {}).get("telepresence-py-test")
    if ours and not cluster.get(NAME, "--all-namespaces"):
        cluster.kubectl("delete", "crd", NAME, "--wait=false")


def make_rollout(namespace: Namespace, name: str) -> Object:
    """As the server has it, with its uid."""
    body = {"apiVersion": API_VERSION, "kind": "Rollout", "metadata": {"name": name}, "spec": {}}
    namespace.apply(body)
    made: Object = namespace.get(NAME, name)
    return made


def _definition() -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {"telepresence-py-test": "true"}},
        "spec": {
            "group": "argoproj.io",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }
