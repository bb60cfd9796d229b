"""Volumes that stay in the pod: what the pod can do with them the child can, and what it may not the child
may not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from integration.conftest import MakeNamespace
from integration.probe.manifests import BASE_IMAGE, RESTRICTED, Object, Workload, config_map, probe_config_map
from integration.probe.town import settle
from integration.support.aftermath import assert_restored, remember
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import product_for

MOUNTS = [
    {"name": "data", "mountPath": "/srv/data"},
    {"name": "data", "mountPath": "/srv/frozen", "readOnly": True},
    {"name": "data", "mountPath": "/srv/part", "subPath": "filled/part"},
    {"name": "data", "mountPath": "/srv/copied"},
    {"name": "data", "mountPath": "/srv/off"},
    {"name": "settings", "mountPath": "/srv/data/settings"},
    {"name": "scratch", "mountPath": "/scratch"},
]
FILL = """
cd /srv/data && rm -rf * && mkdir -p filled/part settings && echo filled >filled/file && echo p >filled/part/p
ln -s filled/file link && chown -R 10001:10001 . && chmod 777 .
cd /scratch && mkdir guarded && echo s >guarded/secret && chmod 700 guarded
echo root >owned && chmod 644 owned && chmod 777 .
"""
HELP = """
import os, time
text = ""
while not text:  # it is there before it is written
    time.sleep(0.05)
    if os.path.exists("/scratch/from-child"): text = open("/scratch/from-child").read()
with open("/scratch/tmp", "w") as answer: answer.write(text.upper())
os.rename("/scratch/tmp", "/scratch/from-helper")
while True: time.sleep(3600)
"""


@dataclass
class InPlace:
    """What a child found, and the namespace after it, in which the workload's own pod is back."""

    namespace: Namespace
    found: dict[str, Any]
    told: str

    def in_pod(self, command: str) -> str:
        return self.namespace.in_pod("deployment/keeper", "sh", "-c", command)


def keeper() -> Workload:
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    helper: Object = {
        "name": "helper",
        "image": BASE_IMAGE,
        "command": ["python3", "-c", HELP],
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "securityContext": RESTRICTED,
    }
    filling = {
        "name": "filling",
        "image": BASE_IMAGE,
        "command": ["sh", "-c", f"[ -e /srv/data/last ] || {{ {FILL} }}"],
        "volumeMounts": [MOUNTS[0], MOUNTS[-1]],
    }
    pod = {"volumes": volumes, "initContainers": [filling]}
    return Workload("keeper", pod=pod, container={"volumeMounts": MOUNTS}, siblings=(helper,), service=False)


def claimed(namespace: Namespace) -> list[Object]:
    """A claim on a directory of the last node."""
    node = namespace.cluster.get("nodes")[-1]["metadata"]["labels"]["kubernetes.io/hostname"]
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = common | {
        "capacity": {"storage": "1Mi"},
        "hostPath": {"path": f"/tmp/{namespace.name}", "type": "DirectoryOrCreate"},
        "claimRef": {"namespace": namespace.name, "name": "data"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
    }
    claim = common | {"volumeName": namespace.name, "resources": {"requests": {"storage": "1Mi"}}}
    return [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, name, spec in (
            ("PersistentVolume", namespace.name, volume),
            ("PersistentVolumeClaim", "data", claim),
        )
    ]


@pytest.fixture(scope="module")
def in_place(namespaces: MakeNamespace, user: PlainUser, sidecar_image: None) -> Iterator[InPlace]:
    namespace = namespaces("volumes-in-place")
    settings = config_map("settings", {"colour": "green"})
    settle(namespace, probe_config_map(), settings, *claimed(namespace), *keeper().objects())
    before = remember(namespace, "keeper")
    try:
        with product_for(user, namespace.developer_kubeconfig()) as product:
            laptop = product.directory / "laptop"
            program = product.source("integration/probe/volumes.py")
            volumes = ("--volume", "/srv/copied=copy", "--volume", "/srv/off=off")
            child = ("--", product.python, program, str(laptop))
            ended = product.run("swap", "keeper:main", "--ready", "now", *volumes, *child, seconds=180)
            assert ended.code == 0, ended.err
            assert_restored(before)
            yield InPlace(namespace, json.loads(ended.out), ended.err)
    finally:
        namespace.in_pod("deployment/keeper", "sh", "-c", "rm -rf /srv/data/* || true")
        namespace.cluster.kubectl("delete", "persistentvolume", namespace.name, "--wait=false")


def test_a_claims_files_are_there_with_links_and_parts(in_place: InPlace) -> None:
    found = in_place.found
    assert found["filled"] == "filled\n"
    assert found["link"] == ["filled/file", "filled\n"]
    assert found["part"] == ["p"]
    assert found["mine"], "whatever the pod's user may do with them, they are shown as the child's own"


def test_a_config_map_in_a_live_volume_is_a_copy_in_it(in_place: InPlace) -> None:
    assert (in_place.found["inner"], in_place.found["inner write"]) == ("green", "EROFS")


def test_a_read_only_mount_refuses_writes(in_place: InPlace) -> None:
    assert in_place.found["frozen"] == ["EROFS"] * 4
    assert in_place.found["frozen access"] is False


def test_what_the_pods_user_may_not_the_child_may_not(in_place: InPlace) -> None:
    assert in_place.found["guarded"] == ["EACCES", "EACCES"]
    assert in_place.found["guarded write"] == "EACCES"
    assert in_place.found["access"] == [True, False]


def test_an_empty_dir_is_shared_with_the_pods_other_containers_both_ways(in_place: InPlace) -> None:
    assert in_place.found["helper"] == "HELLO FROM THE CHILD"


def test_git_clones_and_commits_in_a_claim(in_place: InPlace) -> None:
    assert in_place.found["git"] == []
    assert in_place.in_pod("cat /srv/data/clone/more") == "more"


def test_an_unpacked_tree_is_the_same_tree(in_place: InPlace) -> None:
    assert in_place.found["tree"] == []


def test_a_database_of_sqlite_is_whole_in_the_pod_too(in_place: InPlace) -> None:
    assert in_place.found["sqlite"] == [[4950, "ok"]] * 2
    opened = "sqlite3.connect('/srv/data/delete.db')"
    query = f"import sqlite3; print(*{opened}.execute('select sum(n) from t').fetchone())"
    assert in_place.in_pod(f'python3 -c "{query}"').strip() == "4950"


def test_a_large_file_is_the_same_by_another_mount(in_place: InPlace) -> None:
    assert in_place.found["large"] == ""
    assert in_place.in_pod("wc -c </srv/data/large").strip() == str(20 << 20)


def test_what_is_made_has_the_childs_umask_and_the_pods_owner(in_place: InPlace) -> None:
    assert in_place.found["mode"] == "0o640"
    assert in_place.in_pod("stat -c '%a %u' /srv/data/mode").strip() == "640 10001"


def test_a_shell_writes_and_appends(in_place: InPlace) -> None:
    assert in_place.found["shell"] == ""
    assert in_place.in_pod("cat /srv/data/shell") == "one\ntwo\n"


def test_the_space_of_a_claim_is_that_which_the_pod_is_told(in_place: InPlace) -> None:
    program = "import os; s = os.statvfs('/srv/data'); print(s.f_frsize * s.f_blocks, s.f_namemax)"
    told = in_place.in_pod(f'python3 -c "{program}"').split()
    assert in_place.found["space"] == [int(each) for each in told]


def test_what_was_written_last_is_there_when_the_original_is_back(in_place: InPlace) -> None:
    assert in_place.in_pod("cat /srv/data/last") == "kept"


def test_a_volume_is_copied_or_left_out_where_the_user_says_so(in_place: InPlace) -> None:
    assert in_place.found["copied"] == ["filled\n", False]
    assert in_place.found["off"] is False


def test_nothing_is_said_of_volumes_that_are_as_wanted(in_place: InPlace) -> None:
    assert "is not there" not in in_place.told
    assert "/srv" not in in_place.told
