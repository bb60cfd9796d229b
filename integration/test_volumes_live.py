"""What changes in the cluster while the session lasts changes for the child too, as it does in a pod."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.conftest import MakeNamespace
from integration.probe.asking import Probe, ProbeError
from integration.probe.languages import Builder
from integration.probe.manifests import Object, Workload, config_map, probe_config_map, secret
from integration.probe.parity import pod_probe
from integration.probe.swapping import python_probe, swapped
from integration.probe.town import SERVICE_ACCOUNT, settle
from integration.support.aftermath import assert_restored, remember
from integration.support.cluster import KubectlFailed
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import product_for
from integration.support.waiting import wait_until

CONFIG, SECRET, ALL, LATER = "/etc/live/config", "/run/secrets/live", "/opt/live/all", "/etc/live/later"
LABELS = "/etc/live/labels"
OUTER, INNER = "/var/lib/live", "/var/lib/live/inner"
"""An emptyDir, and a ConfigMap mounted in it."""
WATCHED = (CONFIG, SECRET, ALL, LATER, INNER)
SINGLE_FILE = "/etc/live/single.conf"
SYNC_SECONDS = 60
"""The kubelet looks after a pod about once a minute, and soon after each change of the pod."""

_kicks = itertools.count(1)


@dataclass
class Live:
    """A swap whose objects have changed since; `pod` is an ordinary pod with the same volumes. The events are
    those of the watched directories, up to the end of the first change. `reloaded` is what a Go program by
    the side of the child has printed into."""

    namespace: Namespace
    child: Probe
    pod: Probe
    reloaded: Path
    child_events: dict[str, Any]
    pod_events: dict[str, Any]


def workload(name: str, replicas: int = 1) -> Workload:
    projected = [
        {"configMap": {"name": "settings", "items": [{"key": "colour", "path": "deep/down/colour"}]}},
        {"secret": {"name": "credentials"}},
        {"serviceAccountToken": {"path": "token-for-peer", "audience": "peer", "expirationSeconds": 600}},
    ]
    labels = {"path": "kick", "fieldRef": {"fieldPath": "metadata.labels['kick']"}}
    volumes = [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "secret", "secret": {"secretName": "credentials"}},
        {"name": "all", "projected": {"sources": projected}},
        {"name": "later", "configMap": {"name": "later", "optional": True}},
        {"name": "labels", "downwardAPI": {"items": [labels]}},
        {"name": "outer", "emptyDir": {}},
    ]
    paths = {"config": CONFIG, "secret": SECRET, "all": ALL, "later": LATER, "labels": LABELS, "outer": OUTER}
    mounts = [{"name": volume, "mountPath": path} for volume, path in paths.items()]
    mounts.append({"name": "config", "mountPath": SINGLE_FILE, "subPath": "colour"})
    mounts.append({"name": "config", "mountPath": INNER})
    return Workload(
        name, replicas, pod={"volumes": volumes}, container={"volumeMounts": mounts}, service=False
    )


def before_change() -> list[Object]:
    return [
        config_map("settings", {"colour": "green", "shape": "round"}),
        secret("credentials", {"user": "tester", "password": "first"}),
    ]


def after_change() -> list[Object]:
    return [
        config_map("settings", {"colour": "red", "size": "large"}),
        secret("credentials", {"user": "tester", "password": "second"}),
        config_map("later", {"arrived": "yes"}),
    ]


def kick(namespace: Namespace) -> str:
    """A change of all pods, for which their kubelets look after their volumes at once."""
    number = str(next(_kicks))
    try:
        namespace.kubectl("label", "pods", "--all", "--overwrite", f"kick={number}")
    except KubectlFailed as failure:
        if "(NotFound)" not in str(failure):  # a pod may go between its being listed and its label
            raise
    return number


def wait_content(namespace: Namespace, probe: Probe, path: str, content: bytes) -> None:
    def is_there() -> bool:
        kick(namespace)
        try:
            return probe.content(path) == content
        except ProbeError:
            return False

    wait_until(is_there, SYNC_SECONDS, f"{path} holds {content!r}", every=1.0)


@pytest.fixture(scope="module")
def live(namespaces: MakeNamespace, user: PlainUser, sidecar_image: None, builder: Builder) -> Iterator[Live]:
    namespace = namespaces("volumes-live")
    objects = [*workload("live", replicas=2).objects(), *workload("beside").objects()]
    settle(namespace, probe_config_map(), *before_change(), *objects)
    before = remember(namespace, "live")
    with (
        product_for(user, namespace.developer_kubeconfig()) as product,
        pod_probe(namespace, "deployment/beside") as pod,
    ):
        reloaded = product.directory / "reloaded"
        reload = f"{builder.built('reload') / 'reload'} {CONFIG}/colour >{reloaded} 2>&1 </dev/null &"
        child = ("sh", "-c", f'{reload} exec "$@"', "sh", *python_probe(product, "http:8080"))
        with swapped(product, "live", child=child) as swap:
            yield changed(namespace, swap.probe, pod, reloaded)
        assert_restored(before)


def changed(namespace: Namespace, child: Probe, pod: Probe, reloaded: Path) -> Live:
    for probe in (child, pod):
        for path in WATCHED:
            probe.ask("watch", path=path)
    wait_until(reloaded.read_text, 60, "the Go program runs")
    namespace.apply(*after_change())
    events = []
    for probe in (child, pod):
        for path, content in {
            f"{CONFIG}/colour": b"red",
            f"{SECRET}/password": b"second",
            f"{ALL}/deep/down/colour": b"red",
            f"{LATER}/arrived": b"yes",
            f"{INNER}/colour": b"red",
        }.items():
            wait_content(namespace, probe, path, content)
        events.append({path: probe.ask("watched", path=path, last=r"delete \.\.2.*") for path in WATCHED})
    return Live(namespace, child, pod, reloaded, *events)


def names(probe: Probe, path: str) -> list[str]:
    return [name for name in probe.ask("file", path=path)["names"] if not name.startswith("..2")]


def nameless(events: list[list[str]]) -> list[tuple[str, str]]:
    """Without the times and random numbers of the kubelet's directories."""
    return [(what, re.sub(r"^\.\.2.*", "..STATE", name)) for what, name in events]


def claims(token: bytes) -> dict[str, Any]:
    payload = token.decode().split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", WATCHED)
def test_a_changed_volume_has_the_new_content_and_names_in_the_pods_layout(live: Live, path: str) -> None:
    assert names(live.child, path) == names(live.pod, path)
    assert live.child.ask("file", path=f"{path}/..data")["target"].startswith("..2")


def test_keys_come_and_go(live: Live) -> None:
    assert live.child.content(f"{CONFIG}/colour") == b"red"
    assert live.child.content(f"{CONFIG}/size") == b"large"
    with pytest.raises(ProbeError):
        live.child.content(f"{CONFIG}/shape")


@pytest.mark.parametrize("path", WATCHED)
def test_who_watches_a_volume_is_told_exactly_what_is_told_in_a_pod(live: Live, path: str) -> None:
    assert nameless(live.child_events[path]) == nameless(live.pod_events[path])
    assert ["moved to", "..data"] in live.child_events[path]


def test_a_go_program_reloads_as_viper_does(live: Live) -> None:
    """fsnotify on the directory of a file whose own link never changes."""

    def told() -> list[str]:
        return [json.loads(line) for line in live.reloaded.read_text().splitlines()]

    wait_until(lambda: told()[:2] == ["green", "red"], 10, "the program has reloaded its settings", seen=told)


def test_a_file_by_sub_path_stays_as_it_stays_in_a_pod(live: Live) -> None:
    assert live.child.content(SINGLE_FILE) == b"green"
    assert live.pod.content(SINGLE_FILE) == b"green"


def test_the_child_may_still_not_write_there(live: Live) -> None:
    for path in WATCHED:
        with pytest.raises(ProbeError) as refused:
            live.child.ask("write", path=f"{path}/new", text="x")
        assert refused.value.errno == "EROFS"


def test_a_volume_in_a_volume_is_renewed_and_the_outer_one_is_the_childs(live: Live) -> None:
    assert live.child.content(f"{INNER}/size") == b"large"
    assert live.child.ask("write", path=f"{OUTER}/new", text="mine") == 4
    assert live.child.ask("file", path=OUTER)["names"] == ["inner", "new"]


def test_labels_of_the_pod_are_followed_by_the_downward_api(live: Live) -> None:
    kicked = kick(live.namespace).encode()
    wait_until(
        lambda: live.child.content(f"{LABELS}/kick") == kicked,
        SYNC_SECONDS,
        f"the child reads the label {kicked!r}",
    )


def test_an_optional_config_map_that_is_deleted_leaves_an_empty_volume(live: Live) -> None:
    live.namespace.kubectl("delete", "configmap", "later")

    def empty() -> bool:
        kick(live.namespace)
        return names(live.child, LATER) == names(live.pod, LATER) == ["..data"]

    wait_until(empty, SYNC_SECONDS, f"{LATER} is empty in the child and in the pod", every=1.0)


def test_when_its_pod_is_lost_another_pods_volumes_are_the_childs(live: Live) -> None:
    """Its tokens too: those of a pod that is gone are worth nothing any more."""
    lost = live.child.ask("hostname")
    live.namespace.kubectl("delete", "pod", lost, "--wait=false")

    def another() -> bool:
        tokens = [live.child.content(path) for path in (f"{ALL}/token-for-peer", f"{SERVICE_ACCOUNT}/token")]
        return all(claims(token)["kubernetes.io"]["pod"]["name"] != lost for token in tokens)

    wait_until(another, 90, "the child has the tokens of another pod")
    live.namespace.apply(config_map("settings", {"colour": "blue"}))
    wait_content(live.namespace, live.child, f"{CONFIG}/colour", b"blue")
