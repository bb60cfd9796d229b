from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from telepresence_py.model.intent import EnvironmentChoice
from telepresence_py.model.network import PortMap
from telepresence_py.session.stage import Scene, announce, name_servers, without_udp
from telepresence_py.session.tunnels import Tunnels
from telepresence_sidecar.contract import __version__
from tests.fakes.tunnel import FACTS


def test_name_servers_are_those_that_resolv_conf_names():
    text = (
        "search shop.svc\nnameserver 10.0.0.10\n# nameserver 1.1.1.1\nnameserver fd00::a extra\nnameserver\n"
    )
    assert name_servers(text) == {"10.0.0.10", "fd00::a"}


def _told(version, unserved_ports):
    tunnels, told = Tunnels(), []
    facts = replace(FACTS, version=version)
    tunnels.add("pod-0", SimpleNamespace(facts=facts, unserved_ports=unserved_ports))
    announce(tunnels, told.append)
    return [event.text for event in told]


def test_a_sidecar_of_another_version_is_told_with_both_versions():
    (text,) = _told("0.0.9", {})
    assert "0.0.9" in text
    assert __version__ in text


def test_nothing_is_told_of_a_sidecar_that_can_do_all():
    assert _told(__version__, {}) == []


def test_a_port_on_which_the_sidecar_cannot_listen_is_told_with_its_reason():
    (text,) = _told(__version__, {"80": "permission denied"})
    assert "80" in text
    assert "permission denied" in text


def test_a_child_on_the_laptops_own_network_goes_without_udp_and_nothing_waits_for_it():
    told = []
    ports = (PortMap(53, 53), PortMap(53, 5353, protocol="UDP"))
    scene = without_udp(Scene(("true",), ports, (), EnvironmentChoice()), told.append)
    assert scene.ports == ports[:1]
    assert "UDP port 53" in told[0].text
