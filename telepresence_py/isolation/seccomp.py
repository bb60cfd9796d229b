"""The method "seccomp": no namespace. The kernel asks about each connect() of the child (process/answering),
and its sockets are connected to the session's proxy instead; all else is as with the method "proxy".

This is the session's side: doors on loopback, and the file that tells the CLI of them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, nullcontext, suppress
from ipaddress import ip_address

from telepresence_py.isolation.contract import ROOT
from telepresence_py.isolation.facts import HostFacts, laptop_file
from telepresence_py.isolation.names import LAPTOP_RESOLVERS
from telepresence_py.isolation.proxy import BesideCli
from telepresence_py.isolation.steps import Step, taking
from telepresence_py.model.world import NetworkView
from telepresence_py.process.call_words import Doors
from telepresence_py.process.handing_over import try_out
from telepresence_py.process.seccomp import machine

RESOLV_CONF = "/etc/resolv.conf"
_LOOPBACK = {"4": (socket.AF_INET, "127.0.0.1"), "6": (socket.AF_INET6, "::1")}
_BACKLOG = 1024


def hindrance(facts: HostFacts) -> str | None:
    if facts.platform != "linux":
        return f"seccomp is Linux's, this is {facts.platform}"
    try:
        machine()
    except OSError as error:
        return error.strerror
    return None


@asynccontextmanager
async def around(
    entering: AbstractAsyncContextManager[BesideCli], view: NetworkView
) -> AsyncIterator[BesideCli]:
    """The world of `entering`, in which the child's connections are led to its proxy."""
    with taking(Step.FILTER):
        try_out()
    async with entering as world:
        with ExitStack() as stack:
            with taking(Step.LISTENERS):
                truthful, fast = (_open(stack, socket.SOCK_STREAM) for _ in range(2))
                names = _open(stack, socket.SOCK_DGRAM)
            for listener in world.proxies:
                listener.close()
            world.proxies, world.fast_proxies = tuple(truthful.values()), tuple(fast.values())
            world.name_doors = tuple(names.values())
            servers, search, options = _resolver(view.files.get(RESOLV_CONF, b""))
            doors = Doors(
                world.proxy_secret,
                _ports(truthful),
                _ports(fast),
                _ports(names),
                pod_server=servers[0] if servers else "",
                laptop_servers=_resolver(laptop_file(RESOLV_CONF) or b"")[0] or ("127.0.0.1", "::1"),
                families=sorted({str(ip_address(address).version) for address in view.addresses}),
                hidden=LAPTOP_RESOLVERS,
            )
            world.namespaces = {"calls": _file(stack, doors.encode())}
            resolving = {"LOCALDOMAIN": " ".join(search), "RES_OPTIONS": " ".join(options)}
            world.variables = {
                **{name: value for name, value in world.variables.items() if name == ROOT},
                **{name: value for name, value in resolving.items() if value},
            }
            world.claim(port for each in (truthful, fast) for port in _ports(each).values())
            yield world


def _open(stack: ExitStack, kind: int) -> dict[str, socket.socket]:
    """By family; IPv4 has to be there."""
    made = {}
    for family, (number, address) in _LOOPBACK.items():
        with suppress(OSError) if family == "6" else nullcontext():
            door = stack.enter_context(socket.socket(number, kind))
            door.bind((address, 0))
            if kind == socket.SOCK_STREAM:
                door.listen(_BACKLOG)
            door.setblocking(False)
            made[family] = door
    return made


def _ports(doors: Mapping[str, socket.socket]) -> dict[str, int]:
    return {family: int(door.getsockname()[1]) for family, door in doors.items()}


def _file(stack: ExitStack, content: bytes) -> int:
    """On no disk: the secret is in it."""
    descriptor = os.memfd_create("doors")
    stack.callback(os.close, descriptor)
    os.write(descriptor, content)
    return descriptor


def _resolver(resolv_conf: bytes) -> tuple[list[str], list[str], list[str]]:
    """Name servers, search path and options (resolv.conf(5))."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in resolv_conf.decode(errors="replace").splitlines():
        match line.split():
            case ["nameserver", address, *_]:
                servers.append(address)
            case ["search" | "domain", *domains]:
                search = domains
            case ["options", *words]:
                options += words
    return servers, search, options
