from __future__ import annotations

from telepresence_py.session.stage import name_servers


def test_name_servers_are_those_that_resolv_conf_names():
    text = (
        "search shop.svc\nnameserver 10.0.0.10\n# nameserver 1.1.1.1\nnameserver fd00::a extra\nnameserver\n"
    )
    assert name_servers(text) == {"10.0.0.10", "fd00::a"}
