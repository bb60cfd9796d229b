from __future__ import annotations

from telepresence_py.isolation.names import HOSTNAME, NSSWITCH, hosts_by_dns, name_files
from telepresence_py.model.world import NetworkView

UBUNTU = b"""# comment
passwd:         files systemd
hosts:          files mdns4_minimal [NOTFOUND=return] dns mymachines
networks:       files
"""


def test_hosts_are_looked_up_in_file_and_dns_and_users_as_before() -> None:
    lines = hosts_by_dns(UBUNTU).splitlines()
    assert lines == [
        b"# comment",
        b"passwd:         files systemd",
        b"networks:       files",
        b"hosts: files dns",
    ]


def test_only_files_that_the_laptop_has_are_added() -> None:
    view = NetworkView("orders", ("10.0.0.1",), {"/etc/hosts": b"h"})
    assert name_files(view, {}) == {"/etc/hosts": b"h"}
    complete = name_files(view, {NSSWITCH: UBUNTU, HOSTNAME: b"laptop"})
    assert complete == {"/etc/hosts": b"h", NSSWITCH: hosts_by_dns(UBUNTU), HOSTNAME: b"orders\n"}


def test_what_the_pod_gives_goes_before_what_would_be_added() -> None:
    view = NetworkView("orders", ("10.0.0.1",), {HOSTNAME: b"other\n"})
    assert name_files(view, {HOSTNAME: b"laptop"}) == {HOSTNAME: b"other\n"}
