"""`list` and `restore`, as commands, against the fake API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from telepresence_py.model.records import SessionRecord
from telepresence_py.process.records import process_start, write_record
from telepresence_sidecar.contract import (
    HOLDER_ANNOTATION,
    SESSION_LABEL,
    SINCE_ANNOTATION,
    WORKLOAD_ANNOTATION,
)
from tests.fakes.cluster import deployment, fake_cluster, write_kubeconfig

ROOT = Path(__file__).parents[3]
SINCE = "2024-01-01T00:00:00Z"


@pytest.fixture
def cluster():
    with fake_cluster() as fake:
        fake.add("namespaces", {"metadata": {"name": "shop"}})
        yield fake


@pytest.fixture
def run(tmp_path, cluster):
    """Run a command as its user does, who has the fake cluster's kubeconfig."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "sidecar"))),
        "KUBECONFIG": write_kubeconfig(tmp_path / "kubeconfig", cluster.url),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }

    def one(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "telepresence_py", *words]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return one


@pytest.fixture
def session(tmp_path):
    """The record of a session that lives on this machine: its process is this one."""
    directory = tmp_path / "telepresence-py"
    directory.mkdir(mode=0o700)
    started = process_start(os.getpid())
    assert started is not None
    command = ("python", "orders.py", "x" * 100)
    record = SessionRecord("s1", "deployment/orders", "shop", "test", SINCE, os.getpid(), started, command)
    write_record(directory, record)
    return record


def left_behind(cluster, phase="Succeeded"):
    """A sidecar pod that a session left."""
    annotations = {
        HOLDER_ANNOTATION: "ann@work",
        SINCE_ANNOTATION: SINCE,
        WORKLOAD_ANNOTATION: "deployment/orders",
    }
    metadata = {"name": "orders-abc-tp-0", "labels": {SESSION_LABEL: "s2"}, "annotations": annotations}
    spec = {"containers": [{"name": "app"}]}
    return cluster.add("pods", {"metadata": metadata, "spec": spec, "status": {"phase": phase}})


def protect(tmp_path, context):
    directory = tmp_path / "config" / "telepresence-py"
    directory.mkdir(parents=True)
    (directory / "config.toml").write_text(f'protected_contexts = ["{context}"]\n')


def test_where_nothing_is_the_list_says_so(run):
    done = run("list")
    assert done.returncode == 0
    assert done.stdout == "Sessions on this machine: none\nSidecar pods in namespace shop: none\n"


def test_the_list_tells_sessions_and_pods(run, cluster, session):
    left_behind(cluster)
    lines = run("list").stdout.splitlines()
    assert lines[0] == "Sessions on this machine:"
    assert lines[2].split()[:6] == ["s1", "deployment/orders", "shop", "test", SINCE, str(os.getpid())]
    assert lines[2].endswith("…")
    assert lines[3] == "Sidecar pods in namespace shop:"
    assert lines[5].split() == ["orders-abc-tp-0", "deployment/orders", "finished", "ann@work", SINCE, "s2"]


def test_the_list_for_programs_has_all_fields(run, cluster, session):
    left_behind(cluster)
    told = json.loads(run("list", "--output", "json").stdout)
    assert told["sessions"] == [json.loads(session.to_json())]
    (pod,) = told["pods"]
    assert pod["pod_name"] == "orders-abc-tp-0"
    assert pod["state"] == "finished"


def test_sessions_are_listed_though_the_cluster_cannot_be_asked(run, session):
    done = run("list", "--context", "tset", "-o", "json")
    assert done.returncode == 66
    told = json.loads(done.stdout)
    assert told["pods"] is None
    assert told["sessions"][0]["session"] == "s1"
    assert '"test"' in done.stderr


def test_where_nothing_is_left_there_is_nothing_to_restore(run, cluster):
    cluster.add("deployments", deployment()[0])
    done = run("restore", "orders")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "telepresence-py: nothing to restore for deployment/orders\n"


@pytest.mark.parametrize("words", [("list",), ("restore", "orders"), ("restore", "--all")])
def test_a_namespace_that_is_not_there_is_told_with_the_nearest(run, words):
    done = run(*words, "-n", "shopp")
    assert done.returncode == 66
    assert 'there is no namespace "shopp"' in done.stderr
    assert 'did you mean "shop"?' in done.stderr


def test_a_workload_that_is_not_there_is_told_with_the_nearest(run, cluster):
    cluster.add("deployments", deployment()[0])
    done = run("restore", "ordres")
    assert done.returncode == 66
    assert 'no deployment "ordres"' in done.stderr
    assert 'did you mean "orders"?' in done.stderr


def test_who_may_not_look_for_workloads_is_taken_at_their_word(run, cluster):
    cluster.refuse = lambda _method, path, _body: (403, "no") if "/deployments" in path else None
    assert run("restore", "orders").returncode == 0


def test_what_a_session_left_is_removed(run, cluster):
    left_behind(cluster)
    done = run("restore", "--all")
    assert (done.returncode, done.stdout) == (0, "")
    assert "deployment/orders" in done.stderr
    assert cluster.pods() == []


def test_in_a_protected_context_nothing_is_restored_where_nobody_can_be_asked(run, cluster, tmp_path):
    protect(tmp_path, "te*")
    left_behind(cluster)
    done = run("restore", "--all")
    assert done.returncode == 78
    assert "the context test is protected" in done.stderr
    assert len(cluster.pods()) == 1
