from __future__ import annotations

import errno

import pytest

from telepresence_py.isolation import messages
from telepresence_py.isolation.messages import Born, Broken, Handed, Ready, Refused
from telepresence_py.isolation.steps import Refusal, Step
from telepresence_py.model.world import NetworkView


@pytest.mark.parametrize(
    "message",
    [
        Born(4711),
        Handed(("tcp", "tcp", "volume:/data with space")),
        Ready(("a notice",)),
        Refused(Refusal(Step.ID_MAP, errno.EPERM, "Operation not permitted")),
        Broken("Traceback ..."),
    ],
)
def test_what_was_said_is_what_is_heard(message: messages.Message) -> None:
    assert messages.decode(messages.encode(message)) == message


def test_a_view_arrives_whole() -> None:
    view = NetworkView(
        "orders",
        ("10.0.0.1", "fd00::1"),
        {"/etc/hosts": b"h"},
        ("/data", "/cache"),
        {"/etc/secret": bytes(range(256))},
        frozenset({"/cache"}),
        ("/data",),
        (8081, 8125),
        True,
        prefix="/pod",
        below_prefix=frozenset({"/data"}),
        file_modes={"/etc/secret": 0o400},
    )
    assert messages.decode_view(messages.encode_view(view)) == view


def test_a_socket_is_asked_for_by_family() -> None:
    assert messages.requested_family(messages.socket_request(10)) == 10
