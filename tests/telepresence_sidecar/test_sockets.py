from __future__ import annotations

import errno
import socket

import pytest

from telepresence_sidecar import sockets
from telepresence_sidecar.sockets import errno_of, listen_everywhere, plain_address


def test_one_listener_serves_both_families() -> None:
    with listen_everywhere(0) as listener:
        port = listener.getsockname()[1]
        families = {socket.AF_INET: "127.0.0.1"}
        if listener.family == socket.AF_INET6:
            families[socket.AF_INET6] = "::1"
        for family, address in families.items():
            with socket.socket(family) as caller:
                caller.connect((address, port))


def test_without_ipv6_it_listens_over_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sockets._listen

    def no_ipv6(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6 here")
        return real(family, address, port)

    monkeypatch.setattr(sockets, "_listen", no_ipv6)
    with listen_everywhere(0) as listener:
        assert listener.family == socket.AF_INET


def test_mapped_addresses_are_shown_as_ipv4() -> None:
    assert plain_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_address("fd00::1") == "fd00::1"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), errno.EHOSTUNREACH),
        (OSError("Multiple exceptions"), errno.ECONNREFUSED),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), errno.ECONNREFUSED),
        (OSError(errno.ENETUNREACH, "no route"), errno.ENETUNREACH),
    ],
)
def test_every_failed_connect_has_an_errno(error: OSError, code: int) -> None:
    assert errno_of(error) == code
