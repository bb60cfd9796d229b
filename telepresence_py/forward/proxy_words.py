"""PURE: what the clients of a proxy say, and what is said to them: SOCKS5 (RFC 1928, with the user name and
password of RFC 1929) and HTTP (RFC 9110, CONNECT among it; RFC 9112, absolute-form of requests).

`Asking` is fed with bytes until it has a `request`; it tells what to answer on the way. One connection is for
one request: a plain one is passed on with `Connection: close`, so that the client makes another connection
for its next, which may be for another host.
"""

from __future__ import annotations

import errno
import hmac
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator
from dataclasses import dataclass
from ipaddress import ip_address

MOST_HEAD_BYTES = 64 << 10

_CONNECT, _NAME = 1, 3
_ADDRESS_LENGTHS = {1: 4, 4: 16}
_NO_METHOD, _PASSWORD = 0xFF, 2
_REPLIES = {
    0: 0,
    errno.ENETUNREACH: 3,
    errno.ENETDOWN: 3,
    errno.EHOSTUNREACH: 4,
    errno.ECONNREFUSED: 5,
    errno.ETIMEDOUT: 6,  # "TTL expired": what others say, too, when nobody answers
}
_GENERAL_FAILURE, _NO_SUCH_COMMAND, _NO_SUCH_ADDRESS_TYPE = 1, 7, 8

# of one hop, or for the proxy itself (RFC 9110, 7.6.1 and 11.7)
_NOT_PASSED_ON = frozenset({"connection", "keep-alive", "proxy-connection", "proxy-authorization"})
_HTTP_PORT = 80


class Refused(Exception):
    """The client is told `answer` and the connection ends."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.answer = answer


@dataclass(frozen=True)
class Request:
    """A connection to `host` (a name or an address) and `port`, on which `first` is to be sent at once.

    `answer(errno)` is what the client is told of it, 0 being success.
    """

    host: str
    port: int
    first: bytes
    answer: Callable[[int], bytes]


class Asking:
    """One client's words. `feed` returns what to say to it, and raises Refused; then `request` may be there.
    `secret` is the password that the client must know; of its user name nothing depends."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._buffer = bytearray()
        self._answers = b""
        self._parser = self._parse()
        next(self._parser)
        self.request: Request | None = None

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        if self.request is None:
            next(self._parser, None)
        answers, self._answers = self._answers, b""
        return answers

    def _parse(self) -> Generator[None, None, None]:
        yield
        yield from self._until(1)
        self.request = yield from (self._socks() if self._buffer[0] == 5 else self._http())

    def _until(self, count: int) -> Generator[None, None, None]:
        while len(self._buffer) < count:
            yield

    def _take(self, count: int) -> Generator[None, None, bytes]:
        yield from self._until(count)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    # --- SOCKS5 ----------------------------------------------------------------------------------------

    def _socks(self) -> Generator[None, None, Request]:
        _version, count = yield from self._take(2)
        if _PASSWORD not in (yield from self._take(count)):
            raise Refused(bytes((5, _NO_METHOD)))
        self._answers += bytes((5, _PASSWORD))
        _version, length = yield from self._take(2)
        yield from self._take(length)
        (length,) = yield from self._take(1)
        password = yield from self._take(length)
        if not hmac.compare_digest(password, self._secret):
            raise Refused(b"\x01\x01")
        self._answers += b"\x01\x00"
        version, command, _reserved, kind = yield from self._take(4)
        if version != 5:
            raise Refused(b"")
        if command != _CONNECT:
            raise Refused(_reply(_NO_SUCH_COMMAND))
        host = yield from self._socks_host(kind)
        port = int.from_bytes((yield from self._take(2)), "big")
        return Request(host, port, bytes(self._buffer), _socks_answer)

    def _socks_host(self, kind: int) -> Generator[None, None, str]:
        if kind == _NAME:
            (length,) = yield from self._take(1)
            name = yield from self._take(length)
            return _name(name.decode("utf-8", "replace"), _reply(_GENERAL_FAILURE))
        if kind not in _ADDRESS_LENGTHS:
            raise Refused(_reply(_NO_SUCH_ADDRESS_TYPE))
        return str(ip_address((yield from self._take(_ADDRESS_LENGTHS[kind]))))

    # --- HTTP ------------------------------------------------------------------------------------------

    def _http(self) -> Generator[None, None, Request]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MOST_HEAD_BYTES:
                raise Refused(_response("431 Request Header Fields Too Large"))
            yield
        head = bytes((yield from self._take(end + 4)))[:-4].decode("latin-1")
        first, *lines = head.split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1.") or any(map(_is_folded, lines)):
            raise Refused(_response("400 Bad Request", "this is not HTTP/1.x"))
        headers = [(name, value.strip(" \t")) for name, _colon, value in (x.partition(":") for x in lines)]
        self._authenticate(headers)
        method, target, version = words
        if method == "CONNECT":
            host, port = _authority(target, None)
            return Request(host, port, bytes(self._buffer), _connect_answer)
        if not target.lower().startswith("http://"):
            raise Refused(_response("400 Bad Request", "ask for http://HOST/PATH, or by CONNECT"))
        authority, path = _split(target[len("http://") :])
        host, port = _authority(authority.rpartition("@")[2], _HTTP_PORT)
        own = "\r\n".join((f"{method} {path} {version}", *_passed_on(headers), "", ""))
        return Request(host, port, own.encode("latin-1") + bytes(self._buffer), _plain_answer)

    def _authenticate(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            scheme, _blank, credentials = value.partition(" ")
            if name.lower() == "proxy-authorization" and scheme.lower() == "basic":
                given = _decoded(credentials.strip()).partition(b":")[2]
                if hmac.compare_digest(given, self._secret):
                    return
        authenticate = 'Proxy-Authenticate: Basic realm="telepresence-py"'
        raise Refused(_response("407 Proxy Authentication Required", headers=(authenticate,)))


def basic(user: str, secret: str) -> str:
    """The value of a Proxy-Authorization header (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{secret}".encode()).decode()


def _decoded(credentials: str) -> bytes:
    try:
        return b64decode(credentials.encode("latin-1"), validate=True)
    except ValueError:
        return b""


def _is_folded(line: str) -> bool:
    """A line that goes on in the next is obsolete, and a way to smuggle (RFC 9112, 5.2)."""
    return ":" not in line or line.startswith((" ", "\t"))


def _passed_on(headers: list[tuple[str, str]]) -> list[str]:
    upgrades = any(n.lower() == "connection" and "upgrade" in v.lower() for n, v in headers)
    kept = [f"{name}: {value}" for name, value in headers if name.lower() not in _NOT_PASSED_ON]
    return [*kept, "Connection: Upgrade" if upgrades else "Connection: close"]


def _split(rest: str) -> tuple[str, str]:
    """Authority and path, of what stands behind http://."""
    for position, character in enumerate(rest):
        if character in "/?":
            return rest[:position], rest[position:] if character == "/" else f"/{rest[position:]}"
    return rest, "/"


def _authority(word: str, default: int | None) -> tuple[str, int]:
    """Host and port of `host:port` or `[address]:port` (RFC 3986, 3.2)."""
    refusal = _response("400 Bad Request", "HOST:PORT is wanted")
    if word.startswith("["):
        host, bracket, rest = word[1:].partition("]")
        colon, number = rest[:1], rest[1:]
        if not bracket or (rest and colon != ":"):
            raise Refused(refusal)
    else:
        host, colon, number = word.partition(":")
    if not number and default is not None:
        return _name(host, refusal), default
    if not (number.isascii() and number.isdigit()) or not 0 < int(number[:6]) < 65536:
        raise Refused(refusal)
    return _name(host, refusal), int(number)


def _name(word: str, refusal: bytes) -> str:
    if not word or len(word) > 255 or not word.isprintable() or any(c in word for c in " /@"):
        raise Refused(refusal)
    return word


def _reply(code: int) -> bytes:
    """With the address 0.0.0.0 and port 0: from where the pod dials is nobody's business here."""
    return bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0))


def _socks_answer(error: int) -> bytes:
    return _reply(_REPLIES.get(error, _GENERAL_FAILURE))


def _connect_answer(error: int) -> bytes:
    return b"HTTP/1.1 200 Connection established\r\n\r\n" if error == 0 else _gateway(error)


def _plain_answer(error: int) -> bytes:
    return b"" if error == 0 else _gateway(error)


def _gateway(error: int) -> bytes:
    status = "504 Gateway Timeout" if error == errno.ETIMEDOUT else "502 Bad Gateway"
    return _response(status, f"the pod cannot connect there: {os.strerror(error)}")


def _response(status: str, text: str = "", headers: tuple[str, ...] = ()) -> bytes:
    body = f"telepresence-py: {text}\n".encode() if text else b""
    lines = (f"HTTP/1.1 {status}", *headers, "Content-Type: text/plain", "Connection: close")
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body
