"""Blocking HTTP to the API server, for worker threads: what trio must not do itself.

Credentials stay in here, in `connections` and `portforward`; errors tell the kind of failure, never a header.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from telepresence_py.cluster.calls import Call, Json
from telepresence_py.cluster.connections import Connections, Way
from telepresence_py.cluster.kubeconfig import Access
from telepresence_py.cluster.light import urllib3
from telepresence_py.model.plugin import RunPlugin

HTTPError, SSLError = urllib3.exceptions.HTTPError, urllib3.exceptions.SSLError

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
SILENCE_SECONDS = 90.0  # on a watch the server sends a bookmark about every minute


class NoAnswer(Exception):
    """The server was not reached, or the connection broke before the answer; the request may be carried out.

    `final` is True where trying again cannot help (its certificate is not trusted).
    """

    def __init__(self, cause: str, final: bool = False) -> None:
        super().__init__(cause)
        self.final = final


@dataclass(frozen=True)
class RawAnswer:
    status: int
    json: Json
    retry_after: float | None = None  # seconds, as the server wishes


class Exchange:
    """Requests to one server; safe to use from several threads. Close it with `close`.

    ClusterUnreachable is raised beside NoAnswer where credentials are not to be had.
    """

    def __init__(self, access: Access, run_plugin: RunPlugin) -> None:
        self._server = access.server
        self._through = "" if access.proxy is None else f", through the proxy {access.proxy.place}"
        self.connections = Connections(access, run_plugin)

    def close(self) -> None:
        self.connections.close()

    def send(self, call: Call, namespace: str) -> RawAnswer:
        """One request, its whole answer; NoAnswer when none came in time."""
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        try:
            response = self._open(call, namespace, timeout)
            try:
                content = response.read()
            finally:
                response.release_conn()
        except (HTTPError, OSError) as error:
            raise self._no_answer(error) from error
        wish = response.headers.get("Retry-After", "")
        return RawAnswer(response.status, _parse(content), float(wish) if wish.isdigit() else None)

    def open_lines(self, call: Call, namespace: str) -> Lines:
        """Begin a watch or a followed log; NoAnswer when the server does not begin to answer."""
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS)
        try:
            return Lines(self._open(call, namespace, timeout))
        except (HTTPError, OSError) as error:
            raise self._no_answer(error) from error

    def _open(self, call: Call, namespace: str, timeout: urllib3.Timeout) -> Any:
        way = self.connections.way()
        response = self._request(way, call, namespace, timeout)
        # what is refused so was not carried out: it may be sent again
        if response.status == 401 and self._may_try_again(way, response):
            response.close()
            response = self._request(self.connections.way(), call, namespace, timeout)
        return response

    def _may_try_again(self, way: Way, response: Any) -> bool:
        try:
            return self.connections.refused(way)
        except BaseException:
            response.close()
            raise

    def _no_answer(self, error: Exception) -> NoAnswer:
        found = _no_answer(error)
        return NoAnswer(f"{found}{self._through}", found.final)

    def _request(self, way: Way, call: Call, namespace: str, timeout: urllib3.Timeout) -> Any:
        headers = urllib3.HTTPHeaderDict({"Accept": "application/json, */*", "User-Agent": "telepresence-py"})
        for name, value in way.headers:
            headers.add(name, value.encode())  # type: ignore[arg-type]  # as bytes; text it would send as Latin-1
        body = None
        if call.body is not None:
            body = json.dumps(call.body).encode()
            patch = call.method == "PATCH"
            headers["Content-Type"] = "application/merge-patch+json" if patch else "application/json"
        query = f"?{urlencode(call.query)}" if call.query else ""
        return way.pool.request(
            call.method,
            f"{self._server}{call.path(namespace)}{query}",
            body=body,
            headers=headers,
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
        )


class Lines:
    """The lines of an answer that goes on. One thread iterates; any may `close`, which ends the iteration."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._socket = _socket_under(response)
        self._closed = threading.Event()
        self.status: int = response.status

    def whole(self) -> Json:
        """The body of a refusal, which is short."""
        return _parse(self._response.read(65536))

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        try:
            for chunk in self._response.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
            if rest:
                yield rest
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # the last two come out of a response that was closed under the reader's hands
            if not self._closed.is_set():
                raise _no_answer(error) from error

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        # shutdown wakes the thread that reads; close alone would wait for it. What has ended refuses both
        for end in (self._shut_down, self._response.close):
            with suppress(HTTPError, OSError, ValueError, AttributeError, RuntimeError):
                end()

    def _shut_down(self) -> None:
        if self._socket is None:
            self._response.shutdown()
        else:
            self._socket.shutdown(socket.SHUT_RDWR)


def _socket_under(response: Any) -> Any:
    """The socket that the answer comes from, also through TLS in TLS, which urllib3 cannot shut down."""
    found = getattr(response.connection, "sock", None)
    while (under := getattr(found, "socket", None)) is not None:
        found = under
    return found


def _parse(content: bytes) -> Json:
    try:
        value = json.loads(content)
    except ValueError:
        return {"message": content[:300].decode(errors="replace")}
    return value if isinstance(value, dict) else {"message": str(value)[:300]}


def _no_answer(error: Exception) -> NoAnswer:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoAnswer(f"its certificate is not trusted: {cause.verify_message}", final=True)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, SSLError):
        return NoAnswer(f"TLS failed: {_short(error)}", final=True)
    return NoAnswer(_short(error))


def _short(error: Exception) -> str:
    """The last part of urllib3's text, without the connection object's representation and without any URL."""
    text = str(error.args[-1]) if error.args else type(error).__name__
    return text.rpartition(": ")[2].strip(" '\"()") or type(error).__name__
