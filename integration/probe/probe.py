"""The program that runs as the child under every test, and as the workload's own in the pod: it answers
questions about what it sees. Standard library only, one file, so that it can be shipped as a ConfigMap.

    probe.py ask [LISTEN...]     a question is one line of JSON on stdin, its answer one line on stdout
    probe.py serve [LISTEN...]   no questions; runs until a signal, leaving as a good Kubernetes citizen does

LISTEN is http:PORT, echo:PORT (TCP) or udp:PORT, with @ADDRESS behind the port for one address alone.
A question is `{"ask": NAME, ...arguments}`; an answer `{"is": value}` or
`{"error": {"kind", "errno", "text"}}`. probe/go answers the same questions from a static binary.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import errno
import fcntl
import http.server
import json
import os
import re
import select
import signal
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

TERM = {signal.SIGTERM}
LINGER_SECONDS = 2.0
"""How long `serve` goes on answering after SIGTERM, until every node's proxy has forgotten it."""

leaving = threading.Event()
caught: list[str] = []
listeners: dict[int, Callable[[], None]] = {}
watches: dict[str, int] = {}

INOTIFY = {0x100: "create", 0x200: "delete", 0x40: "moved from", 0x80: "moved to"}


def who() -> str:
    """What tells one copy of this program from another in its HTTP answers."""
    return os.environ.get("PROBE_WHO", "nobody")


# -- questions ---------------------------------------------------------------------------------------


def ask_environment() -> dict[str, str]:
    """All variables; bytes that are not UTF-8 come as surrogate escapes."""
    return dict(os.environ)


def ask_hostname() -> str:
    return socket.gethostname()


def ask_file(path: str) -> dict[str, object]:
    """Kind, permission bits, link target and content (base64, at most 1 MiB) of one path."""
    info = os.lstat(path)
    seen: dict[str, object] = {"mode": stat.S_IMODE(info.st_mode), "kind": "other"}
    if stat.S_ISLNK(info.st_mode):
        seen["target"] = os.readlink(path)
        info = os.stat(path)
    if stat.S_ISDIR(info.st_mode):
        return seen | {"kind": "directory", "names": sorted(os.listdir(path))}
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            return seen | {"kind": "file", "content": base64.b64encode(file.read(1 << 20)).decode()}
    return seen


def ask_watch(path: str) -> int:
    """Watch a directory by inotify(7), as a program does that reloads its settings. In Python alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    watches[path] = libc.inotify_init1(os.O_CLOEXEC)
    if watches[path] < 0 or libc.inotify_add_watch(watches[path], path.encode(), sum(INOTIFY)) < 0:
        raise OSError(ctypes.get_errno(), f"cannot watch {path}")
    return watches[path]


def ask_watched(path: str, last: str, seconds: float = 40.0) -> list[list[str]]:
    """What happened in a watched directory, as [what, name], up to the first event whose two words, with a
    space between, match the expression `last`."""
    seen: list[list[str]] = []
    while not seen or not any(re.fullmatch(last, " ".join(event)) for event in seen):
        if not select.select([watches[path]], [], [], seconds)[0]:
            raise TimeoutError(f"no {last} among {seen}")
        data = os.read(watches[path], 65536)
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16 : 16 + length].rstrip(b"\0").decode()
            seen.append([next(text for bit, text in INOTIFY.items() if mask & bit), name])
            data = data[16 + length :]
    return seen


def ask_write(path: str, text: str) -> int:
    with open(path, "w") as file:
        return file.write(text)


def ask_resolve(name: str) -> list[str]:
    """Addresses of a name by getaddrinfo, sorted."""
    found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    return sorted({str(entry[4][0]) for entry in found})


def ask_reverse(address: str) -> str:
    """The name of an address, as the resolver tells it."""
    return socket.gethostbyaddr(address)[0]


def ask_tcp(
    host: str, port: int, send: str = "", end: bool = True, seconds: float = 10.0
) -> dict[str, object]:
    """Connect, send, half-close if `end`, read to the peer's end; without `end` read one piece."""
    received = b""
    with socket.create_connection((host, port), timeout=seconds) as connection:
        own, peer = connection.getsockname()[:2], connection.getpeername()[:2]
        connection.sendall(send.encode())
        if end:
            connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65536):
            received += piece
            if not end:
                break
    return {"received": received.decode(errors="replace"), "own": own[0], "peer": peer[0]}


def ask_udp(host: str, port: int, size: int = 5, seconds: float = 5.0, tries: int = 1) -> dict[str, object]:
    """Send a datagram of `size` bytes and wait for the same back; `tries` times, as UDP may lose one."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sent = bytes(i % 251 for i in range(size))
    with socket.socket(family, kind) as flow:
        flow.settimeout(seconds / tries)
        for left in reversed(range(tries)):
            flow.sendto(sent, address)
            try:
                received, peer = flow.recvfrom(65535)
            except TimeoutError:
                if left:
                    continue
                raise
            break
    return {"size": len(received), "same": received == sent, "peer": peer[0]}


def ask_addresses() -> list[str]:
    """Addresses of the own interfaces, loopback and link-local ones left out."""
    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode())
            try:
                answer = fcntl.ioctl(any_socket, 0x8915, request)  # SIOCGIFADDR, netdevice(7)
            except OSError:
                continue
            found.add(socket.inet_ntop(socket.AF_INET, answer[20:24]))
    try:
        with open("/proc/net/if_inet6") as rows:
            found |= {socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row.split()[0])) for row in rows}
    except FileNotFoundError:
        pass
    return sorted(a for a in found if not a.startswith(("127.", "fe80:")) and a != "::1")


def ask_process() -> dict[str, object]:
    """Arguments, directory, ids and terminal, as any program may look at them."""
    terminals = [os.isatty(fd) for fd in (0, 1, 2)]
    seen: dict[str, object] = {
        "argv": sys.argv[1:],
        "cwd": os.getcwd(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups_leader": os.getpgrp() == os.getpid(),
        "terminals": terminals,
        "executable": sys.executable,
    }
    if terminals[0]:
        seen["foreground"] = os.tcgetpgrp(0) == os.getpgrp()
        seen["size"] = list(os.get_terminal_size(0))
    with open("/proc/self/status") as status:
        seen["capabilities"] = next(line.split()[1] for line in status if line.startswith("CapEff"))
    return seen


def ask_listen(kind: str, port: int, address: str = "") -> int:
    """Start a listener; it is bound when the answer comes."""
    start = {"http": listen_http, "echo": listen_echo, "udp": listen_udp}[kind]
    listeners[port] = start(address, port)
    return port


def ask_close(port: int) -> int:
    listeners.pop(port)()
    return port


def ask_catch(names: list[str]) -> list[str]:
    """From now on these signals are noted instead of obeyed; `caught` tells which came."""
    for name in names:
        signal.signal(signal.Signals[name], lambda number, _: caught.append(signal.Signals(number).name))
    return names


def ask_caught(wait: float = 0.05) -> list[str]:
    """What came so far, asked after a moment so that asking again and again costs little."""
    threading.Event().wait(wait)
    return list(caught)


def ask_err(text: str) -> int:
    return os.write(2, text.encode())


def ask_leave(status: int = 0) -> None:
    """End as a good citizen: whoever knocked is served, then exit."""
    close_all()
    sys.exit(status)


def ask_die(status: int = 0, signal_name: str = "") -> None:
    """End at once, by exit status or by a signal's default action."""
    if signal_name:
        signal.signal(signal.Signals[signal_name], signal.SIG_DFL)
        os.kill(os.getpid(), signal.Signals[signal_name])
        signal.pause()
    os._exit(status)


def ask_fork(program: str) -> int:
    """Start a process of a session of its own that outlives this one if it can; its pid as seen here."""
    return os.spawnvp(os.P_NOWAIT, "setsid", ["setsid", "sh", "-c", program])


QUESTIONS: dict[str, Callable[..., Any]] = {
    name.removeprefix("ask_"): value for name, value in list(globals().items()) if name.startswith("ask_")
}


# -- listeners ---------------------------------------------------------------------------------------


def bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """A socket bound to one address, or to all of both families when `address` is empty."""
    family = socket.AF_INET if "." in address or not socket.has_ipv6 else socket.AF_INET6
    sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and not address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((address, port))
    return sock


class Answer(http.server.BaseHTTPRequestHandler):
    timeout = 20

    def do_GET(self) -> None:
        """/ready for probes; /slow/SECONDS answers late; anything else tells who was asked and by whom."""
        if self.path == "/ready":
            return self.answer(503 if leaving.is_set() else 200, {"ready": not leaving.is_set()})
        if self.path.startswith("/slow/"):
            threading.Event().wait(float(self.path.removeprefix("/slow/")))
        seen = {
            "who": who(),
            "hostname": socket.gethostname(),
            "path": self.path,
            "host": self.headers.get("Host"),
            "peer": self.client_address[0].removeprefix("::ffff:"),
            "own": self.connection.getsockname()[0].removeprefix("::ffff:"),
        }
        return self.answer(200, seen)

    def do_POST(self) -> None:
        self.answer(200, self.taken())

    def do_PUT(self) -> None:
        self.answer(200, {"method": self.command, "path": self.path} | self.taken())

    do_DELETE = do_PUT

    def taken(self) -> dict[str, object]:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return {"who": who(), "length": len(body), "sum": sum(body)}

    def answer(self, status: int, seen: dict[str, object]) -> None:
        body = json.dumps(seen).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: stdout is for answers, and stderr is what some tests look at."""


class HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = False  # closing waits for the answers under way

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], Answer, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def drain(self) -> None:
        """Take whoever knocked before the accepting stopped; closing the listener would reset them."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.process_request(*self.get_request())


def listen_http(address: str, port: int) -> Callable[[], None]:
    sock = bound(socket.SOCK_STREAM, address, port)
    sock.listen(256)
    server = HttpServer(sock)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close() -> None:
        server.shutdown()
        server.drain()
        server.server_close()

    return close


def listen_echo(address: str, port: int) -> Callable[[], None]:
    """TCP: sends back what comes, and half-closes when the peer does."""
    sock = bound(socket.SOCK_STREAM, address, port)
    sock.listen(256)

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(65536):
                    connection.sendall(piece)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    return listening(sock, accept)


def listen_udp(address: str, port: int) -> Callable[[], None]:
    """UDP: every datagram goes back to its sender."""
    sock = bound(socket.SOCK_DGRAM, address, port)

    def serve() -> None:
        while True:
            try:
                data, peer = sock.recvfrom(65535)
                sock.sendto(data, peer)
            except OSError as problem:
                if problem.errno == errno.EBADF or sock.fileno() < 0:
                    return

    return listening(sock, serve)


def close_all() -> None:
    while listeners:
        listeners.popitem()[1]()


def listening(sock: socket.socket, loop: Callable[[], None]) -> Callable[[], None]:
    threading.Thread(target=loop, daemon=True).start()

    def close() -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        sock.close()

    return close


# -- main --------------------------------------------------------------------------------------------


def reply(line: str) -> dict[str, object]:
    try:
        question = json.loads(line)
        return {"is": QUESTIONS[question.pop("ask")](**question)}
    except Exception as problem:  # noqa: BLE001 - whatever went wrong is the answer
        number = problem.errno if isinstance(problem, OSError) and problem.errno is not None else 0
        name = errno.errorcode.get(number, "")
        return {"error": {"kind": type(problem).__name__, "errno": name, "text": str(problem)}}


def answer_questions() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(reply(line)) + "\n")
        sys.stdout.flush()
    close_all()


def serve_until_term() -> None:
    # a handler runs only once the wait it fell into is over: one that comes just before it would be lost
    signal.sigwait(TERM)
    leaving.set()
    if listeners:
        threading.Event().wait(LINGER_SECONDS)
    close_all()


def main() -> None:
    mode, *wanted = sys.argv[1:] or ["ask"]
    if mode == "serve":
        signal.pthread_sigmask(signal.SIG_BLOCK, TERM)  # in every thread, before anybody can be served
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # sigwait is not interrupted by Python's handler
    for spec in wanted:
        kind, _, where = spec.partition(":")
        port, _, address = where.partition("@")
        ask_listen(kind, int(port), address)
    if mode == "serve":
        serve_until_term()
    else:
        answer_questions()


if __name__ == "__main__":
    main()
