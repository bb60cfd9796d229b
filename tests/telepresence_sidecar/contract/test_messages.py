from __future__ import annotations

import json

import pytest

from telepresence_sidecar.contract.frames import ProtocolError
from telepresence_sidecar.contract.messages import (
    Goodbye,
    HandedOver,
    HandOver,
    Hello,
    Leave,
    Listening,
    Message,
    Ready,
    from_json,
    to_json,
)


@pytest.mark.parametrize(
    "message",
    [
        Hello(1, {"hostname": "web"}, {"80": "Permission denied"}),
        Listening([80, 8080]),
        Ready(True),
        HandOver(["10.0.0.1", "fd00::1"]),
        HandedOver(),
        Leave(),
        Goodbye(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_survive_the_wire(message: Message) -> None:
    assert from_json(json.loads(json.dumps(to_json(message)))) == message


@pytest.mark.parametrize(
    "fields", [{}, {"is": "Nothing"}, {"is": "Ready"}, {"is": "Ready", "ready": 1, "x": 2}]
)
def test_what_is_no_message_is_a_protocol_error(fields: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        from_json(fields)
