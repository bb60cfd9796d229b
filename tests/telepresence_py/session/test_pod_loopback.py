"""What of the pod's loopback the command shares with the pod's other containers."""

from __future__ import annotations

import pytest

from telepresence_py.model.errors import BadUsage, NamedObjectMissing
from telepresence_py.model.intent import LocalhostChoice
from telepresence_py.model.network import PortMap
from telepresence_py.session.pod_loopback import require_loopback_ports, with_loopback_ports

PORTS = (PortMap(8080, 8081, "http"),)


def named(name, *ports, **more):
    return {"name": name, "ports": [{"containerPort": port} for port in ports]} | more


SPEC = {
    "initContainers": [named("native", 9001, restartPolicy="Always"), named("once", 9002)],
    "containers": [named("app", 8080), named("helper", 9003), {"name": "bare"}],
}


def required(**choice):
    require_loopback_ports(LocalhostChoice(**choice), SPEC, "app", PORTS, "deployment/orders")


@pytest.mark.parametrize(("port", "owner"), [(9001, "native"), (9003, "helper")])
def test_a_port_of_a_container_that_runs_beside_it_is_not_brought_from_the_pod(port, owner):
    with pytest.raises(NamedObjectMissing, match=f"--from-pod {port}: container {owner} of deployment/"):
        required(from_pod=(port,))


def test_any_other_port_is_brought_from_the_pod():
    required(from_pod=(7000, 8080, 9002))


def test_a_datagram_port_of_another_container_stands_in_nobodys_way():
    spec = {
        "containers": [{"name": "app"}, {"name": "b", "ports": [{"containerPort": 1, "protocol": "UDP"}]}]
    }
    require_loopback_ports(LocalhostChoice(from_pod=(1,)), spec, "app", (), "deployment/orders")


def test_the_commands_own_port_is_not_looked_for_in_the_pod():
    with pytest.raises(BadUsage, match=r"--pod-localhost 8080: .*own"):
        required(pod_localhost=(8080,))
    required(pod_localhost=(8081, 9003))


def test_a_port_of_the_workload_needs_no_other_way_from_the_pods_localhost():
    choice = LocalhostChoice(from_pod=(8080, 7000))
    assert with_loopback_ports(PORTS, choice) == (*PORTS, PortMap(7000, 7000, of_loopback=True))
