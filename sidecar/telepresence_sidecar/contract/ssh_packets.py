"""The data packets of one SSH channel, sealed and opened here instead of by asyncssh; the wire sees the same.

asyncssh takes a long way with every packet: a cipher made anew, an IGNORE packet before it, several copies
and log records. So once a channel is open, its data (RFC 4254, 5.2) in AES-GCM packets (RFC 5647, as OpenSSH
has it: the length in clear) goes this way, with asyncssh's own keys, counters and windows. All else
stays with asyncssh: what is not simply data is handed over as it came, what may not be sent as data now
(keys are due or being exchanged, the window is used up, another cipher) is left to the channel.

This leans on private attributes of asyncssh. When one is missing, all goes through asyncssh as ever
(docs/decisions/0015).
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

_CONNECTION = (
    "_inpbuf",
    "_kex_complete",
    "_max_recv_pktlen",
    "_packet",
    "_recv_encryption",
    "_recv_handler",
    "_recv_packet",
    "_recv_pkthdr",
    "_recv_seq",
    "_rekey_bytes",
    "_rekey_bytes_sent",
    "_rekey_seconds",
    "_rekey_time",
    "_send_encryption",
    "_send_seq",
    "_transport",
)
_CHANNEL = (
    "_init_recv_window",
    "_recv_buf",
    "_recv_chan",
    "_recv_paused",
    "_recv_state",
    "_recv_window",
    "_send_buf",
    "_send_chan",
    "_send_pktsize",
    "_send_state",
    "_send_window",
)
_CIPHER = ("_iv", "_key", "_update_iv")

_DATA = 94  # SSH_MSG_CHANNEL_DATA
_BLOCK, _LEAST_PADDING, _TAG = 16, 4, 16
_LENGTH = struct.Struct("!I")
_START = struct.Struct("!BBII")  # padding length, DATA, channel, length of the data that follows


class Cipher(Protocol):
    """AES-GCM with one key: cryptography's AESGCM."""

    def encrypt_into(self, nonce: Any, data: Any, associated_data: Any, buf: Any) -> int: ...
    def decrypt(self, nonce: Any, data: Any, associated_data: Any) -> bytes: ...


class _Keyed:
    """The cipher of one direction: made once per key, and None while it is not AES-GCM."""

    def __init__(self, new_cipher: Callable[[bytes], Cipher]) -> None:
        self.cipher: Cipher | None = None
        self.state: Any = None
        """asyncssh's own, which has the counter."""
        self._new_cipher = new_cipher
        self._encryption: object = None

    def follow(self, encryption: Any) -> Cipher | None:
        if encryption is not self._encryption:
            self._encryption = encryption
            self.state = getattr(encryption, "_cipher", None)
            known = all(hasattr(self.state, name) for name in _CIPHER)
            self.cipher = self._new_cipher(self.state._key) if known else None
        return self.cipher


class DataPackets:
    """Made by `of`. `received` takes all bytes that come for the connection from then on, and calls `deliver`
    with the channel's data, in order with what asyncssh itself gives to the channel's session."""

    def __init__(
        self, channel: Any, new_cipher: Callable[[bytes], Cipher], deliver: Callable[[memoryview], None]
    ) -> None:
        self._channel = channel
        self._connection = channel.get_extra_info("connection")
        self._deliver = deliver
        self._sealing, self._opening = _Keyed(new_cipher), _Keyed(new_cipher)
        self._padding = os.urandom(_BLOCK + _LEAST_PADDING)
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = 0

    @classmethod
    def of(
        cls, channel: Any, new_cipher: Callable[[bytes], Cipher], deliver: Callable[[memoryview], None]
    ) -> DataPackets | None:
        """None when this asyncssh is not one that we know, or `new_cipher` is of a cryptography before 47."""
        connection = channel.get_extra_info("connection")
        owners = ((connection, _CONNECTION), (channel, _CHANNEL), (new_cipher, ("encrypt_into",)))
        known = all(hasattr(owner, name) for owner, names in owners for name in names)
        return cls(channel, new_cipher, deliver) if known else None

    # --- sending -------------------------------------------------------------------------------------

    def seal(self, pieces: Iterable[bytes | memoryview], size: int, lead: int = 0) -> bytearray | None:
        """The `pieces`, of `size` bytes together, as one packet that must leave next, behind `lead` bytes
        which are the caller's; None when the channel must send them."""
        cipher = self._sealing.follow(self._connection._send_encryption)
        if cipher is None or not self._may_send(size):
            return None
        connection, channel, state = self._connection, self._channel, self._sealing.state
        padding = -(_START.size + size) % _BLOCK
        if padding < _LEAST_PADDING:
            padding += _BLOCK
        plain = b"".join(
            (_START.pack(padding, _DATA, channel._send_chan, size), *pieces, self._padding[:padding])
        )
        length = _LENGTH.pack(len(plain))
        start = lead + _LENGTH.size
        packet = bytearray(start + len(plain) + _TAG)
        packet[lead:start] = length
        with memoryview(packet)[start:] as sealed:
            cipher.encrypt_into(state._iv, plain, length, sealed)
        state._update_iv()
        channel._send_window -= size
        connection._send_seq = (connection._send_seq + 1) & 0xFFFFFFFF
        connection._rekey_bytes_sent += len(plain)
        return packet

    def _may_send(self, size: int) -> bool:
        connection, channel = self._connection, self._channel
        return (
            connection._kex_complete
            and connection._rekey_bytes_sent < connection._rekey_bytes
            and not (connection._rekey_seconds and time.monotonic() >= connection._rekey_time)
            and channel._send_state == "open"
            and not channel._send_buf
            and 0 < size <= min(channel._send_window, channel._send_pktsize)
        )

    # --- receiving -----------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of the connection, cut anywhere."""
        connection = self._connection
        if connection._recv_handler == connection._recv_packet or connection._inpbuf:
            self._take_back()
        if not self._reads_on():
            connection.data_received(data)
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._needed:  # a long packet is gathered without joining it again and again
            return
        buffer = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
        self._pieces.clear()
        self._held = self._needed = 0
        rest = buffer[self._read(buffer) :]
        if rest:
            self._pieces.append(rest)
            self._held = len(rest)

    def _read(self, buffer: bytes) -> int:
        """Deals with all whole packets. Returns how many bytes were used."""
        connection, view, position = self._connection, memoryview(buffer), 0
        while len(buffer) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, position)
            end = position + _LENGTH.size + length + _TAG
            if length > connection._max_recv_pktlen:
                break
            if end > len(buffer):
                self._needed = end - position
                return position
            opened = self._open(view[position:end])
            if not opened:
                connection.data_received(buffer[position:end])
            position = end
            if connection._transport is None:  # it has ended
                return len(buffer)
            if not opened and not self._reads_on():
                break
        else:
            return position
        connection.data_received(buffer[position:])
        return len(buffer)

    def _reads_on(self) -> bool:
        """Whether the next packet may be ours: asyncssh has done with the one before, the cipher is known."""
        connection = self._connection
        done = connection._recv_handler == connection._recv_pkthdr
        return done and self._opening.follow(connection._recv_encryption) is not None

    def _open(self, packet: memoryview) -> bool:
        """Delivers it and returns True; False, nothing done, when it is not simply data."""
        channel, state, cipher = self._channel, self._opening.state, self._opening.cipher
        assert cipher is not None
        if (channel._recv_state, channel._send_state, channel._recv_paused) != ("open", "open", False):
            return False
        try:
            plain = cipher.decrypt(state._iv, packet[_LENGTH.size :], packet[: _LENGTH.size])
        except Exception:  # noqa: BLE001 - asyncssh will find the same, and end the connection
            return False
        if len(plain) <= _START.size:
            return False
        padding, kind, number, size = _START.unpack_from(plain)
        if (kind, number, size + padding) != (_DATA, channel._recv_chan, len(plain) - _START.size):
            return False
        window = channel._recv_window - size
        if size == 0 or channel._recv_buf or window < channel._init_recv_window / 2:
            return False
        channel._recv_window = window
        state._update_iv()
        self._connection._recv_seq = (self._connection._recv_seq + 1) & 0xFFFFFFFF
        self._deliver(memoryview(plain)[_START.size : _START.size + size])
        return True

    def _take_back(self) -> None:
        """What asyncssh has of a packet that is not whole: it saw the connection before us."""
        connection = self._connection
        if (
            connection._recv_handler not in (connection._recv_pkthdr, connection._recv_packet)
            or self._opening.follow(connection._recv_encryption) is None
        ):
            return
        rest = connection._packet + connection._inpbuf
        connection._packet = connection._inpbuf = b""
        connection._recv_handler = connection._recv_pkthdr
        self._pieces.insert(0, rest)
        self._held += len(rest)
        self._needed = 0
