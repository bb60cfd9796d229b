"""The API server's port-forward over WebSocket (RFC 6455) as a byte transport. What its messages mean is in
`speeches`."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

from python_socks import ProxyError

from telepresence_py.model.errors import ClusterUnreachable, NoRights, SessionLost, TelepresenceError
from telepresence_py.model.network import WebSocketTarget
from telepresence_py.tunnel.lean_picows import load_picows
from telepresence_py.tunnel.speeches import (
    CHANNEL_PROTOCOL,
    LONGEST_PREFIX,
    SPDY_PROTOCOL,
    Channels,
    Spdy,
    Speech,
)

load_picows()

from picows import (  # noqa: E402
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)

HANDSHAKE_SECONDS = 10.0
_WEBSOCKET_HEADER = 14
"""Bytes; the longest there is (RFC 6455, 5.2)."""

_LARGEST = 1 << 20
"""Bytes of data in one message."""

_UNSENT_BYTES = 128 << 10
"""What the kernel may hold unsent: more would only stand between a keystroke and the wire."""


SUBPROTOCOLS = (SPDY_PROTOCOL, CHANNEL_PROTOCOL)
"""As we like them best. A server that does not know SPDY in a WebSocket passes both on to the node, which
takes the other."""


class PortForwardBroken(ConnectionError):
    """The API server or the kubelet could not reach the port, or stopped forwarding; its text says why."""


class DialFailed(Exception):
    """Worth another try: `error` is what to say when there is no time for one."""

    def __init__(self, error: TelepresenceError) -> None:
        super().__init__(str(error))
        self.error = error


class _PortForward(asyncio.Transport):
    """The transport; its protocol is told everything by `_Messages`."""

    lead = _WEBSOCKET_HEADER + LONGEST_PREFIX
    """Bytes that `write_packet` needs before those that it sends."""

    def __init__(self, websocket: WSTransport, speech: Speech) -> None:
        super().__init__()
        self._websocket = websocket
        self._speech = speech
        self._tcp = websocket.underlying_transport
        self._closing = False

    def write(self, data: Any) -> None:
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        if self._closing:
            return
        pieces = list(list_of_data)
        size = sum(map(len, pieces))
        if size > _LARGEST:
            data = b"".join(pieces)
            for start in range(0, size, _LARGEST):
                self.write(data[start : start + _LARGEST])
        else:
            message = b"".join((self._speech.prefix(size), *pieces))
            self._websocket.send(WSMsgType.BINARY, message)

    def write_packet(self, packet: bytearray) -> None:
        """Sends what stands behind the first `lead` bytes, without a copy; the packet is spent by it."""
        if not self._closing:
            prefix = self._speech.prefix(len(packet) - self.lead)
            start = self.lead - len(prefix)
            packet[start : self.lead] = prefix
            self._websocket.send_reuse_external_bytearray(WSMsgType.BINARY, packet, start)

    def get_write_buffer_size(self) -> int:
        return self._tcp.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._tcp.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tcp.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._closing or self._websocket.is_disconnected

    def close(self) -> None:
        if not self.is_closing():
            self._closing = True
            self._websocket.disconnect()

    def abort(self) -> None:
        self._closing = True
        if not self._websocket.is_disconnected:
            self._websocket.disconnect(False)


class _Messages(WSListener):
    """Turns messages into what an asyncio.Protocol hears: of those that came together, once."""

    def __init__(self, protocol: asyncio.Protocol, port: int) -> None:
        self._protocol = protocol
        self._port = port
        self._error = ""
        self._pieces: list[bytes] = []
        self._due = False
        self._loop = asyncio.get_running_loop()
        self._websocket: WSTransport
        self._speech: Speech

    def on_ws_connected(self, transport: WSTransport) -> None:
        connection = transport.underlying_transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self._websocket = transport
        spdy = transport.response.headers.get("Sec-WebSocket-Protocol") == SPDY_PROTOCOL
        self._speech = Spdy(self._port, self) if spdy else Channels(self)
        if self._speech.opening:
            self.reply(self._speech.opening)
        self._protocol.connection_made(_PortForward(transport, self._speech))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._error:  # what was already read when it broke
            return
        if frame.msg_type is WSMsgType.BINARY or frame.msg_type is WSMsgType.CONTINUATION:
            if self._speech.passes(frame.payload_size):
                self._pieces.append(frame.get_payload_as_bytes())
            else:
                continued = frame.msg_type is WSMsgType.CONTINUATION
                self._speech.heard(frame.get_payload_as_memoryview(), continued)
        elif frame.msg_type is WSMsgType.CLOSE:
            self._hand_over()
            transport.disconnect()
        if self._pieces:
            if frame.last_in_buffer:
                self._hand_over()
            elif not self._due:  # the last may be one that we are not told of
                self._due = True
                self._loop.call_soon(self._hand_over)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._hand_over()
        self._protocol.connection_lost(PortForwardBroken(self._error) if self._error else None)

    # --- what the speech calls -----------------------------------------------------------------------

    def data(self, data: bytes) -> None:
        self._pieces.append(data)

    def failed(self, text: str) -> None:
        self._hand_over()
        self._error = text
        self._websocket.disconnect(False)

    def ended(self) -> None:
        self._hand_over()
        self._websocket.disconnect()

    def reply(self, message: bytes) -> None:
        self._websocket.send(WSMsgType.BINARY, message)

    def _hand_over(self) -> None:
        self._due = False
        if self._pieces:
            pieces, self._pieces = self._pieces, []
            self._protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    # --- what picows calls of itself -----------------------------------------------------------------

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


async def connect(
    target: WebSocketTarget, protocol_factory: Callable[[], asyncio.Protocol]
) -> asyncio.Protocol:
    """Opens the port-forward; `protocol_factory()` is its protocol. Under asyncio.

    DialFailed when another try may help, ClusterUnreachable, NoRights or SessionLost when it will not. A
    refused port is told only later: `connection_lost(PortForwardBroken)`.
    """
    protocol = protocol_factory()
    await open_websocket(target, lambda: _Messages(protocol, target.port), SUBPROTOCOLS, _refused)
    return protocol


async def open_websocket(
    target: WebSocketTarget,
    listener_factory: Callable[[], WSListener],
    subprotocols: Iterable[str],
    refused: Callable[[WebSocketTarget, WSHandshakeError], Exception],
) -> WSTransport:
    """`refused` makes an error of the server's no. DialFailed when another try may help, ClusterUnreachable
    when it will not."""
    headers = (*target.headers, ("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    arguments: dict[str, Any] = {"server_hostname": target.server_name} if target.server_name else {}
    try:
        transport, _ = await ws_connect(
            listener_factory,
            target.url,
            ssl_context=target.tls,
            extra_headers=headers,
            websocket_handshake_timeout=HANDSHAKE_SECONDS,
            max_redirects=0,
            proxy=target.proxy,
            proxy_ssl_context=target.proxy_tls,
            **arguments,
        )
    except WSHandshakeError as error:
        if status_of(error) == 401 and await asyncio.to_thread(target.refused):
            raise DialFailed(not_accepted(target)) from error
        raise refused(target, error) from error
    except ssl.SSLCertVerificationError as error:
        raise ClusterUnreachable(
            f"the API server at {server_of(target)} shows a certificate that is not trusted"
            f" ({error.verify_message}); check certificate-authority in the kubeconfig"
        ) from error
    except (OSError, WSError, TimeoutError, ProxyError) as error:
        raise DialFailed(
            ClusterUnreachable(
                f"the API server at {server_of(target)} could not be reached"
                f" ({error or type(error).__name__}); check the network and try again"
            )
        ) from error
    return transport


def _refused(target: WebSocketTarget, error: WSHandshakeError) -> Exception:
    status, said = status_of(error), said_by(error)
    if status == 401:
        return not_accepted(target)
    if status == 403:
        return NoRights(f"the port-forward to the sidecar was refused ({said}); ask for pods/portforward")
    if status == 404:
        return SessionLost(f"the sidecar pod is gone ({said}); swap again")
    return DialFailed(
        ClusterUnreachable(
            f"the API server at {server_of(target)} did not open the port-forward ({said}); try again"
        )
    )


def status_of(error: WSHandshakeError) -> int:
    """0 where there was no answer."""
    return int(error.response.status) if error.response is not None else 0


def said_by(error: WSHandshakeError) -> str:
    return _message(error.raw_body) or str(error)


def not_accepted(target: WebSocketTarget) -> ClusterUnreachable:
    return ClusterUnreachable(
        f"the API server at {server_of(target)} does not accept the credentials; log in again"
    )


def _message(body: bytes | None) -> str:
    """The message of a Kubernetes Status object."""
    try:
        status = json.loads(body or b"")
    except ValueError:
        return ""
    return str(cast(dict[str, object], status).get("message", "")) if isinstance(status, dict) else ""


def server_of(target: WebSocketTarget) -> str:
    return target.url.split("/")[2]
