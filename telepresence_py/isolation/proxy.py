"""The method "proxy": no namespace at all. Variables tell the child of a proxy; it listens on the laptop.

Volumes are copied below a directory of the session's own in the runtime directory, which is removed at the
end; a lock (flock) on it says that its session lives, so that the next one removes what a killed one left.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager

import trio

from telepresence_py import system
from telepresence_py.isolation.contract import ROOT
from telepresence_py.isolation.diagnosis import Diagnosis, open_wire
from telepresence_py.isolation.facts import laptop_file
from telepresence_py.isolation.laying_out import laid_out
from telepresence_py.isolation.listening import listening_ports
from telepresence_py.isolation.own_directory import own_directory
from telepresence_py.isolation.prefix_link import VOLUMES, linked
from telepresence_py.isolation.steps import Step, taking
from telepresence_py.model.world import NetworkView
from telepresence_py.process.records import runtime_directory
from telepresence_py.system import tcp_socket

USER = "telepresence"
_NO_PROXY = "localhost,127.0.0.1,::1"
_BACKLOG = 1024


Look = Callable[[], dict[int, frozenset[str]]]


class BesideCli:
    """The world of a child without namespaces: `contract.World` with little in it."""

    tcp_listeners: tuple[socket.socket, ...] = ()
    loopback_listeners: tuple[socket.socket, ...] = ()
    udp_sockets: tuple[socket.socket, ...] = ()
    raw_sockets: Mapping[int, socket.socket] = {}
    namespaces: Mapping[str, int] = {}
    proxies: tuple[socket.socket, ...]
    fast_proxies: tuple[socket.socket, ...] = ()
    name_doors: tuple[socket.socket, ...] = ()
    syn_queue = None
    container = None
    shares_localhost = True

    def __init__(
        self,
        listener: socket.socket,
        diagnosis: Diagnosis | None,
        root: str,
        directories: Mapping[str, int],
        look: Look,
    ) -> None:
        self.lost = trio.Event()
        self.proxies = (listener,)
        self.proxy_secret = secrets.token_urlsafe(24)
        self.diagnosis = diagnosis
        self.volume_directories = directories
        port = listener.getsockname()[1]
        self.variables: Mapping[str, str] = proxy_variables(port, self.proxy_secret) | (
            {ROOT: root} if root else {}
        )
        self._look = look
        self._others = {port: frozenset({"127.0.0.1"})} | look()

    async def socket(self, family: int) -> socket.socket:
        return tcp_socket(family)

    def listening_ports(self) -> dict[int, frozenset[str]]:
        """Of the whole laptop, but for what was listened on before the child, for as long as it is: no client
        of the cluster may come out at another program."""
        found = self._look()
        self._others = {port: at for port, at in self._others.items() if port in found}
        return {port: at for port, at in found.items() if port not in self._others}

    def claim(self, ports: Iterable[int]) -> None:
        """Not the child's, though they are listened on from now on."""
        self._others = dict.fromkeys(ports, frozenset({"127.0.0.1"})) | self._others

    def bound_ports(self) -> dict[int, frozenset[str]]:
        return {}


@asynccontextmanager
async def enter(view: NetworkView, notice: Callable[[str], None]) -> AsyncIterator[BesideCli]:
    """A listener for the proxy and the volumes' directories; gone when this is left. `notice` is not needed:
    what is less than perfect is told of the method as a whole."""
    with ExitStack() as stack:
        with taking(Step.LISTENERS):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG))
        listener.setblocking(False)
        root, directories = "", dict[str, int]()
        if view.volume_paths or view.volume_files or view.prefix:
            with taking(Step.MOUNTS):
                root = stack.enter_context(own_directory(runtime_directory(), VOLUMES))
                directories = stack.enter_context(laid_out(root, view))
        if view.prefix:
            stack.enter_context(linked(view.prefix, root))
            root = view.prefix
        wire = open_wire()
        if wire is not None:
            stack.enter_context(wire)
        diagnosis = None if wire is None else Diagnosis(wire)
        yield BesideCli(listener, diagnosis, root, directories, _looking(stack))


def proxy_variables(port: int, secret: str) -> dict[str, str]:
    """PURE. The variables by which programs find the proxy on that port, in both spellings that are in use.

    `socks5h` leaves resolving names to the proxy, as HTTP does.
    """
    where = f"{USER}:{secret}@127.0.0.1:{port}"
    values = {
        "HTTP_PROXY": f"http://{where}",
        "HTTPS_PROXY": f"http://{where}",
        "ALL_PROXY": f"socks5h://{where}",
        "NO_PROXY": _NO_PROXY,
    }
    return values | {name.lower(): value for name, value in values.items()}


def _looking(stack: ExitStack) -> Look:
    """How to see on which ports somebody listens: with Linux anybody, elsewhere this user; until `stack` is
    left."""
    if system.LINUX:
        return _listening
    from telepresence_py.process import neutral

    seen = neutral.Seen(neutral.listening_ports)
    stack.callback(seen.close)
    return seen


def _listening() -> dict[int, frozenset[str]]:
    tables = (laptop_file(f"/proc/net/{name}") or b"" for name in ("tcp", "tcp6"))
    return listening_ports(*(table.decode("ascii", "replace") for table in tables))
