"""The child's stage: namespaces, volumes, names and forwarding, over the tunnels to its pods."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from telepresence_py.dns.search import SearchPath
from telepresence_py.environment.merging import with_method
from telepresence_py.forward.choosing import resolve_by_any
from telepresence_py.forward.datagrams import NameServers, serve_datagrams
from telepresence_py.forward.inbound import ChildNetwork, Inbound, serve_inbound
from telepresence_py.forward.outbound import serve_outbound
from telepresence_py.forward.packets import Endpoint
from telepresence_py.forward.publishing import TakenPorts, serve_published
from telepresence_py.isolation import enter
from telepresence_py.isolation.contract import World
from telepresence_py.model.door import ContainerBinds
from telepresence_py.model.errors import SessionLost
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import EnvironmentChoice, LocalhostChoice
from telepresence_py.model.network import Mount, PodFacts, PortMap, port_word
from telepresence_py.model.rules import Rule
from telepresence_py.model.world import NetworkView
from telepresence_py.session.child_environment import child_environment
from telepresence_py.session.copies import Copies, ask_for
from telepresence_py.session.live_volumes import LiveVolumes, open_live
from telepresence_py.session.pod_loopback import with_loopback_ports
from telepresence_py.session.preflight import beside_laptop, laptop_paths
from telepresence_py.session.ruling import ruling
from telepresence_py.session.tunnels import Tunnels
from telepresence_py.session.volume_wishes import wishes
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.volumes.brought import Brought
from telepresence_py.volumes.choose import VolumeChoice, choose
from telepresence_py.volumes.unpack import fill
from telepresence_sidecar.contract import __version__

RESOLV_CONF = "/etc/resolv.conf"
HOSTS = "/etc/hosts"


@dataclass(frozen=True)
class Scene:
    """What the stage is set for: the child's command, where its connections come from, its volumes, and what
    the user wants of its environment and of `localhost`. On `helper_ports` other containers of its pod
    answer. `rules` say what does not go through the pod; the laptop's `taken_ports` are those that
    `localhost` asks for. With `fast_connect` its connections stand at once, whatever becomes of them.
    `method`, `volumes`, `prefix` and `container_image` are those of the intent, `brought` what was
    read of the container's own files; paths of it in `below_prefix` are there alone."""

    command: tuple[str, ...]
    ports: tuple[PortMap, ...]
    mounts: tuple[Mount, ...]
    environment: EnvironmentChoice
    helper_ports: tuple[int, ...] = ()
    rules: tuple[Rule, ...] = ()
    localhost: LocalhostChoice = field(default_factory=LocalhostChoice)
    taken_ports: TakenPorts = field(default_factory=dict)
    fast_connect: bool = False
    method: str | None = None
    volumes: Mapping[str, str] = field(default_factory=dict)
    prefix: str | None = None
    brought: tuple[Brought, ...] = ()
    below_prefix: frozenset[str] = frozenset()
    container_image: str | None = None


@dataclass(frozen=True)
class Stage:
    """What the child is started with, and what tells whether it listens."""

    scene: Scene
    environment: dict[str, str]
    namespaces: Mapping[str, int]
    container: ContainerBinds | None
    inbound: Inbound
    lost: trio.Event

    async def wait_listening(self, report: Report) -> None:
        """Return once the child listens on every port; at once where there is none."""
        if self.scene.ports:
            ports = ", ".join(port_word(port.child_port, port.protocol) for port in self.scene.ports)
            report(Event("waiting-for-child", f"Waiting for the command to listen on {ports}"))
            await self.inbound.wait_listening()


@asynccontextmanager
async def set_stage(
    nursery: trio.Nursery, scene: Scene, tunnels: Tunnels, report: Report
) -> AsyncIterator[Stage]:
    """Everything the child needs is there inside the block, and gone after it, the child included.

    PreconditionFailed when this machine cannot isolate; SessionLost when the link breaks meanwhile.
    """
    tunnel = tunnels.any_live()
    if tunnel is None:
        raise SessionLost("the link to the sidecar was lost while it was set up; start again")
    volumes = _volumes(scene, report)
    async with AsyncExitStack() as stack:
        live, files = await open_live(tunnel, tunnels.any_live, volumes.live, report)
        stack.callback(live.close)
        copied = (*volumes.copied, *files)
        copies = await ask_for(nursery, tunnel, tunnels.any_live, copied, report)
        view = _with_brought(_view(scene, tunnel.facts, copies, live), scene, volumes.below)
        inside = await stack.enter_async_context(enter(view, report, live.serve, asked=scene.method))
        stack.callback(live.close)  # first of all: a process that waits for the pod cannot be killed
        await copies.fill(inside.volume_directories)
        for one in (each for each in scene.brought if each.is_directory):
            await fill({one.fills: inside.volume_directories[one.path]}, _in_pieces(one.content))
        if inside.shares_localhost:
            scene = without_udp(scene, report)
        inbound = await _serve(stack, nursery, scene, _Ends(tunnels, inside, report))
        choice = with_method(scene.environment, inside.variables)
        laptop = os.environ if inside.container is None else {}
        environment = child_environment(choice, tunnel.facts.environment, report, laptop)
        container = None
        if inside.container is not None:
            from telepresence_py.session.containers import container_binds  # what Linux alone has

            container = container_binds(inside.container, view)
        yield Stage(scene, environment, inside.namespaces, container, inbound, inside.lost)


def without_udp(scene: Scene, report: Report) -> Scene:
    """For a child on the laptop's own network, whom no datagram can reach that comes from a client."""
    for port in (port for port in scene.ports if port.is_udp):
        text = (
            f"UDP port {port.pod_port} is not served with --method {scene.method}: "
            "nothing answers there meanwhile"
        )
        report(Event("udp-unserved", text, Level.NOTICE))
    return replace(scene, ports=tuple(port for port in scene.ports if not port.is_udp))


def _volumes(scene: Scene, report: Report) -> VolumeChoice:
    # a container has paths of its own, at which nothing of the laptop's can be hidden
    contained = scene.container_image is not None
    hiding = not beside_laptop(scene.method) and not contained
    needed = laptop_paths(scene.command) if hiding else ()
    wished = wishes(scene.volumes, scene.method, scene.prefix, contained)
    choice = choose(scene.mounts, needed, wished)
    for path in sorted(choice.below) if hiding else ():
        text = f"{path} of the pod is below {scene.prefix} alone: at its own path it would hide this laptop's"
        report(Event("volume-below", text, Level.NOTICE))
    for skipped in choice.skipped:
        text = f"{skipped.mount.path} is not there: {skipped.reason}"
        report(Event("volume-skipped", text, Level.NOTICE))
    return choice


def _view(scene: Scene, facts: PodFacts, copies: Copies, live: LiveVolumes) -> NetworkView:
    return NetworkView(
        hostname=facts.hostname,
        addresses=facts.addresses,
        files={RESOLV_CONF: facts.resolv_conf.encode(), HOSTS: facts.hosts.encode()},
        volume_paths=(*copies.directories, *live.paths),
        volume_files=copies.files,
        writable_volume_paths=copies.writable | live.writable,
        live_volume_paths=live.paths,
        helper_ports=scene.helper_ports,
        held=not scene.fast_connect,
        prefix=scene.prefix or "",
        container=scene.container_image is not None,
    )


def _with_brought(view: NetworkView, scene: Scene, below: frozenset[str]) -> NetworkView:
    files = [one for one in scene.brought if not one.is_directory]
    return view._replace(
        volume_paths=(*view.volume_paths, *(one.path for one in scene.brought if one.is_directory)),
        volume_files={**view.volume_files, **{one.path: one.content for one in files}},
        file_modes={one.path: one.mode for one in files},
        below_prefix=below | scene.below_prefix,
    )


async def _in_pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


@dataclass(frozen=True)
class _Ends:
    """Between which bytes flow, and who hears of it."""

    tunnels: Tunnels
    inside: World
    report: Report


async def _serve(stack: AsyncExitStack, nursery: trio.Nursery, scene: Scene, ends: _Ends) -> Inbound:
    tunnels, inside, localhost = ends.tunnels, ends.inside, scene.localhost
    facts = tunnels.members[0].facts
    apart = not inside.shares_localhost
    addresses = facts.addresses if apart else ()
    child = ChildNetwork(
        inside.socket, inside.listening_ports, addresses, inside.diagnosis, apart, inside.bound_ports
    )
    others = localhost.publish_others and apart
    published = await stack.enter_async_context(
        serve_published(nursery, child, scene.taken_ports, others, ends.report)
    )
    ports = with_loopback_ports(scene.ports, localhost)
    inbound = await stack.enter_async_context(serve_inbound(nursery, ports, child, published.heard))
    servers = name_servers(facts.resolv_conf)
    ruled = ruling(scene.rules, facts, servers, partial(resolve_by_any, tunnels.any_live), ends.report)
    directions = replace(ruled.directions, pod_localhost=localhost.pod_localhost)
    listeners, loopback, choose = inside.tcp_listeners, inside.loopback_listeners, tunnels.any_live

    def ours(peer: Endpoint) -> bool:
        return inbound.made(peer) or published.made(peer)

    await stack.enter_async_context(
        serve_outbound(listeners, loopback, choose, ours, directions, inside.syn_queue)
    )
    answering = NameServers(servers, ruled.forwarder.answer)
    datagrams = await stack.enter_async_context(
        serve_datagrams(inside.udp_sockets, inside.raw_sockets, choose, answering, directions=directions)
    )
    if inside.proxies:
        from telepresence_py.forward.proxying import serve_proxy  # what no other method needs

        serving = serve_proxy(inside.proxies, inside.proxy_secret, choose, scene.fast_connect)
        await stack.enter_async_context(serving)
        fast = serve_proxy(inside.fast_proxies, inside.proxy_secret, choose, fast=True)
        await stack.enter_async_context(fast)
    if inside.name_doors:
        from telepresence_py.dns.completing import Completing
        from telepresence_py.forward.name_doors import serve_names

        completing = Completing(ruled.forwarder.answer, SearchPath.of(facts.resolv_conf))
        await stack.enter_async_context(serve_names(inside.name_doors, completing.answer))
    udp_ports = {port.pod_port: port.child_port for port in ports if port.is_udp}
    callers = datagrams.serve_callers(udp_ports, facts.addresses, inside.bound_ports)

    def attach(tunnel: Tunnel) -> None:
        inbound.attach(tunnel)
        callers.attach(tunnel)

    tunnels.attach_to(attach)
    return inbound


def name_servers(resolv_conf: str) -> frozenset[str]:
    """The addresses of its `nameserver` lines (resolv.conf(5))."""
    words = (line.split() for line in resolv_conf.splitlines())
    return frozenset(parts[1] for parts in words if len(parts) > 1 and parts[0] == "nameserver")


def announce(tunnels: Tunnels, report: Report) -> None:
    """Say what the sidecars cannot do: ports on which they could not listen, a version other than ours."""
    for tunnel in tunnels.members:
        for port, reason in tunnel.unserved_ports.items():
            report(Event("port-unserved", f"Port {port} of the pod is not served: {reason}", Level.WARNING))
    for version in sorted({tunnel.facts.version for tunnel in tunnels.members} - {__version__}):
        text = (
            f"The sidecar's image is of version {version}, this is {__version__}: "
            "`telepresence-py sidecar load` or `push` make them the same"
        )
        report(Event("version-differs", text, Level.WARNING))
