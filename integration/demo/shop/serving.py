"""What the shop's services share: an HTTP server that leaves politely.

After SIGTERM it says "not ready" and serves on for two seconds: so long may some node still route to a pod
that is going. A rolling replacement then loses no request.
"""

from __future__ import annotations

import contextlib
import http.server
import signal
import socket
import threading
import urllib.parse
from collections.abc import Callable, Mapping

LINGER_SECONDS = 2.0

Page = Callable[[Mapping[str, str]], str]
"""Query parameters in, a text out; ValueError is the asker's fault (400), OSError our suppliers' (502)."""


class DualStackServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    request_queue_size = 128
    daemon_threads = False  # closing waits for the answers under way

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def drain(self) -> None:
        """Take whoever knocked before the accepting stopped; closing the listener would reset them."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.process_request(*self.get_request())


def serve(port: int, pages: Mapping[str, Page]) -> None:
    """Answer GET requests for `pages`, and /ready for the probes, until SIGTERM."""
    leaving = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            if url.path == "/ready":
                return self.answer(503, "leaving") if leaving.is_set() else self.answer(200, "ready")
            if url.path not in pages:
                return self.answer(404, f"no page {url.path}")
            try:
                text = pages[url.path](dict(urllib.parse.parse_qsl(url.query)))
            except ValueError as problem:
                return self.answer(400, str(problem))
            except OSError as problem:
                return self.answer(502, f"{type(problem).__name__}: {problem}")
            return self.answer(200, text)

        def answer(self, status: int, text: str) -> None:
            body = text.encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent: the probes alone would fill the log."""

    with DualStackServer(("", port), Handler) as server:
        signal.signal(signal.SIGTERM, lambda *_: leaving.set())
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        leaving.wait()
        threading.Event().wait(LINGER_SECONDS)
        server.shutdown()
        server.drain()
