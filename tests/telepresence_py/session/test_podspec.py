from __future__ import annotations

from telepresence_py.model.network import PortMap
from telepresence_py.session.podspec import helper_ports


def container(name, *ports, **more):
    return {"name": name, "ports": [{"containerPort": port} for port in ports]} | more


def test_helpers_answer_on_the_ports_that_they_declare_and_the_child_on_its_own():
    spec = {
        "initContainers": [container("once", 7000), container("native", 8082, restartPolicy="Always")],
        "containers": [container("app", 8080), container("beside", 8081, 9999), {"name": "quiet"}],
    }
    assert helper_ports(spec, "app", [PortMap(8080, 9999)]) == (8081, 8082)
    assert helper_ports({"containers": [container("app", 8080)]}, "app", []) == ()
