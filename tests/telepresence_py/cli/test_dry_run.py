"""`--dry-run` from the command line through the real session process to the fake API server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from telepresence_sidecar.contract import HOLDER_ANNOTATION, SESSION_LABEL, WORKLOAD_ANNOTATION
from tests.fakes.cluster import fake_cluster, write_kubeconfig
from tests.telepresence_py.session.swapping import with_orders

ROOT = Path(__file__).parents[3]
REVIEWS = "/apis/authorization.k8s.io/"
"""Questions about rights are POST requests, and write nothing."""


@pytest.fixture
def cluster():
    with fake_cluster() as fake:
        fake.add("namespaces", {"metadata": {"name": "shop"}})
        yield with_orders(fake, 2)


@pytest.fixture
def run(tmp_path, cluster):
    """Run a command as its user does, from a directory that nobody else uses."""
    environment = {
        **os.environ,
        "KUBECONFIG": write_kubeconfig(tmp_path / "kubeconfig", cluster.url),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "SHELL": "/bin/sh",
    }

    def one(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "telepresence_py", *words]
        return subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return one


def assert_untouched(cluster, tmp_path, before):
    """No request but such as read, ask or rehearse; nothing left on the laptop."""
    written = [
        (method, path)
        for method, path in cluster.requests
        if method != "GET" and "dryRun=All" not in path and not path.startswith(REVIEWS)
    ]
    assert written == []
    assert cluster.pod_names() == before
    assert list(tmp_path.glob("telepresence-py/*")) == []


def test_a_swap_is_told_with_what_takes_each_change_back(run, cluster, tmp_path):
    before = cluster.pod_names()
    done = run("swap", "orders", "--dry-run", "--env-file", "mine.env", "--", "true")
    assert done.returncode == 0, done.stderr
    title, columns, *rows = done.stdout.splitlines()
    assert title == "swap deployment/orders in namespace shop of context test would:"
    assert columns.split("  ")[1] == "DO"
    told = [[cell for cell in row.strip().split("  ") if cell] for row in rows]
    assert [cells[0].split()[0] for cells in told] == ["create", "create", "give", "give", "note", "write"]
    assert all(len(cells) == 2 for cells in told)
    assert told[0][0] == "create pod orders-abc-tp-1"
    assert told[0][1].strip() == "delete pod orders-abc-tp-1"
    assert "nothing was changed" in done.stderr
    assert not (tmp_path / "mine.env").exists()
    assert_untouched(cluster, tmp_path, before)
    assert cluster.count("POST", "pods?dryRun=All") == 2, "the plain pod and the sidecar's are rehearsed"


def test_programs_get_the_manifests_too_and_no_command_is_needed(run, cluster, tmp_path):
    before = cluster.pod_names()
    done = run("swap", "orders", "--dry-run", "-o", "json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["command"], told["workload"], told["namespace"]) == ("swap", "deployment/orders", "shop")
    assert [pod["metadata"]["name"] for pod in told["objects"]] == ["orders-abc-tp-1", "orders-abc-tp-2"]
    assert all(SESSION_LABEL in pod["metadata"]["labels"] for pod in told["objects"])
    assert "PRIVATE KEY" not in done.stdout
    assert_untouched(cluster, tmp_path, before)


def test_a_run_is_told_with_its_service_and_what_dead_ones_left(run, cluster, tmp_path):
    cluster.add("pods", finished("run-old", "run/run-old"))
    before = cluster.pod_names()
    done = run("run", "--dry-run", "-o", "json", "--name", "api", "--expose", "9000:8080", "--", "true")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [change["do"].split(",")[0] for change in told["changes"]] == [
        "delete pod run-old",
        "create pod api",
        "create service api",
    ]
    assert [one["kind"] for one in told["objects"]] == ["Pod", "Service"]
    assert_untouched(cluster, tmp_path, before)


def finished(name, workload):
    return {
        "metadata": {
            "name": name,
            "labels": {"app": "orders", SESSION_LABEL: "old"},
            "annotations": {WORKLOAD_ANNOTATION: workload, HOLDER_ANNOTATION: "ann@work"},
        },
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Succeeded"},
    }


def test_a_pod_that_is_in_the_way_is_told(run, cluster):
    cluster.add("pods", finished("orders-abc-tp-1", "deployment/orders"))
    done = run("swap", "orders", "--dry-run", "-o", "json", "--", "true")
    first = json.loads(done.stdout)["changes"][0]
    assert first["do"].startswith("delete pod orders-abc-tp-1,")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("swap", "odrers"), 66, "orders"),
        (("swap", "orders", "--", "no-such-program"), 127, "no-such-program"),
        (("swap", "orders", "--env-file", "/nowhere/x", "--", "true"), 78, "/nowhere"),
        (("swap", "orders", "-p", "http", "--", "true"), 2, "http"),
        (("run", "--name", "UPPER", "--", "true"), 2, "UPPER"),
        (("restore", "odrers"), 66, "orders"),
    ],
)
def test_what_would_be_refused_is_refused(run, cluster, words, code, said):
    done = run(words[0], "--dry-run", *words[1:])
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""


def test_a_pod_that_the_server_would_not_admit_is_refused(run, cluster):
    cluster.refuse = lambda method, path, body: (
        (403, "exceeded quota: pods=2") if method == "POST" and "/pods" in path else None
    )
    done = run("swap", "orders", "--dry-run", "--", "true")
    assert done.returncode == 78, done.stderr
    assert "exceeded quota" in done.stderr


def test_a_port_of_the_laptop_that_is_taken_is_refused_and_a_free_one_stays_free(run, cluster):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("swap", "orders", "--dry-run", "--publish", f"{port}:8080", "--", "true")
        done = run(*words)
        assert done.returncode == 78
        assert str(port) in done.stderr
    assert run(*words).returncode == 0
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_protected_context_is_not_asked_about_as_nothing_is_touched(run, cluster, tmp_path):
    settings = tmp_path / "config" / "telepresence-py" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('protected_contexts = ["test"]\n')
    assert run("swap", "orders", "--", "true").returncode == 78
    assert run("swap", "orders", "--dry-run", "--", "true").returncode == 0


def test_a_form_of_the_answer_needs_an_answer(run):
    done = run("swap", "orders", "-o", "json", "--", "true")
    assert done.returncode == 2
    assert "--dry-run" in done.stderr


def test_a_restore_is_told(run, cluster, tmp_path):
    cluster.add("pods", finished("orders-abc-tp-1", "deployment/orders"))
    living = finished("orders-abc-tp-2", "deployment/orders")
    living |= {"status": {"phase": "Running"}}
    living["metadata"] |= {"labels": {SESSION_LABEL: "old"}, "creationTimestamp": "2026-01-01T00:00:00Z"}
    cluster.add("pods", living)
    cluster.logs["orders-abc-tp-2"] = "client connected\nclient lost\n"
    before = cluster.pod_names()
    done = run("restore", "orders", "--dry-run", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [change["do"].split(",")[0] for change in told["changes"]] == [
        "delete pod orders-abc-tp-1",
        "take orders-abc-tp-2 back",
        "delete pod orders-abc-tp-2",
        "note in an Event of deployment/orders who restored it",
    ]
    assert_untouched(cluster, tmp_path, before)
    assert "restore in namespace shop" in run("restore", "--all", "--dry-run").stdout
