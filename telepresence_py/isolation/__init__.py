"""How one child, and only it, sees the pod's world: network, names, files.

May touch namespaces, mounts, nftables, each only inside namespaces of our own; and, at the end removed, empty
mount points in directories that are the user's (`placeholders`), copies of volumes in the runtime directory
(`proxy`) and a link to them (`prefix_link`). Must not know tunnels, forwarding or the cluster. One module per
method behind one table, of which `contract` has the words; methods do not import each other, but that
`seccomp` is `proxy` with another way to its door. This module is imported by the agent too, which must start
fast: hence the imports inside functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from telepresence_py import system
from telepresence_py.isolation.contract import Method, Serve

if TYPE_CHECKING:
    from telepresence_py.isolation.contract import World
    from telepresence_py.isolation.facts import HostFacts
    from telepresence_py.model.events import Event, Report
    from telepresence_py.model.world import NetworkView

__all__ = ["METHODS", "Method", "choose", "enter", "limits_of"]


def _not_linux(facts: HostFacts) -> str | None:
    return None if facts.platform == "linux" else f"namespaces need Linux, this is {system.name()}"


def _not_posix(facts: HostFacts) -> str | None:
    return f"it needs Linux or macOS, this is {system.name()}" if facts.platform == "win32" else None


def _enter_userns(
    view: NetworkView, notice: Callable[[str], None], serve: Serve
) -> AbstractAsyncContextManager[World]:
    from telepresence_py.isolation import userns

    return userns.enter(view, notice, serve)


def _enter_proxy(
    view: NetworkView, notice: Callable[[str], None], _serve: Serve
) -> AbstractAsyncContextManager[World]:
    from telepresence_py.isolation import proxy

    return proxy.enter(view, notice)


def _enter_redirect(
    view: NetworkView, notice: Callable[[str], None], serve: Serve
) -> AbstractAsyncContextManager[World]:
    from telepresence_py.isolation import userns

    return userns.enter(view._replace(redirected=True, held=False), notice, serve)


def _enter_podman(
    view: NetworkView, notice: Callable[[str], None], serve: Serve
) -> AbstractAsyncContextManager[World]:
    from telepresence_py.isolation import podman

    return podman.enter(view, notice, serve)


def _no_sudo(facts: HostFacts) -> str | None:
    from telepresence_py.isolation import sudo

    return sudo.hindrance(facts)


def _enter_sudo(
    view: NetworkView, notice: Callable[[str], None], serve: Serve
) -> AbstractAsyncContextManager[World]:
    from telepresence_py.isolation import sudo, userns

    raised = sudo.Raised()
    entering = userns.enter(view, notice, serve, raised.start, raised.heir)
    return raised.explained(entering, userns.AgentSilent)


def _no_docker(facts: HostFacts) -> str | None:
    from telepresence_py.isolation import docker

    return docker.hindrance(facts)


def _enter_docker(
    view: NetworkView, notice: Callable[[str], None], serve: Serve
) -> AbstractAsyncContextManager[World]:
    from telepresence_py.isolation import docker

    return docker.enter(view, notice, serve)


def _no_seccomp(facts: HostFacts) -> str | None:
    from telepresence_py.isolation import seccomp

    return seccomp.hindrance(facts)


def _enter_seccomp(
    view: NetworkView, notice: Callable[[str], None], _serve: Serve
) -> AbstractAsyncContextManager[World]:
    from telepresence_py.isolation import proxy, seccomp

    return seccomp.around(proxy.enter(view, notice), view)


METHODS: tuple[Method, ...] = (
    Method("userns", "user namespace with tproxy", _not_linux, _enter_userns),
    Method(
        "redirect",
        "user namespace with redirection",
        _not_linux,
        _enter_redirect,
        (
            "the command's connect() succeeds at once, and what is refused shows as a reset after it",
            "the command's localhost is its own: a port on which it does not listen is not this laptop's",
        ),
    ),
    Method(
        "podman",
        "rootless podman's user namespace",
        _not_linux,
        _enter_podman,
        ("the command is root inside, of podman's user namespace; outside, and to your files, it is you",),
    ),
    Method(
        "sudo",
        "user namespace made through sudo, with tproxy",
        _no_sudo,
        _enter_sudo,
        ("sudo lets a process of yours make the namespaces, and for that moment it has CAP_SYS_ADMIN",),
        offer="which has sudo make the user namespace",
    ),
    Method(
        "docker",
        "user namespace made by a container of docker's, with tproxy",
        _no_docker,
        _enter_docker,
        (
            "docker lets a process of yours make the namespaces, and for that moment it has CAP_SYS_ADMIN; a "
            "container that keeps it company lives until the session ends",
        ),
        offer="which has docker make the user namespace",
        container_limits=(
            "root of the container is this laptop's root, as docker has it, and whoever may use docker can "
            "read its variables",
            "the pod's volumes that may be written are copies of the container's own, and gone with it",
        ),
    ),
    Method(
        "seccomp",
        "a filter of its calls",
        _no_seccomp,
        _enter_seccomp,
        (
            "only TCP and names go through the pod; UDP to anywhere but this laptop is refused",
            "a connect() that does not wait, as those of event loops, succeeds at once, and what is refused "
            "shows as a reset after it",
            "the command's connections seem to it to be between ports of localhost; /etc/hosts, host name "
            "and addresses are this laptop's; so is localhost, which all its programs share",
            "programs that ask for names without connect(), as those with musl do, find none",
            "whoever calls the workload seems to call from localhost, which some programs trust",
            "the pod's volumes are not at their own paths, but copies below what TELEPRESENCE_ROOT names",
            "what the command leaves running when it ends runs on, with no network but localhost",
        ),
        offer="which leads TCP and names alone through the pod and needs no right",
    ),
    Method(
        "proxy",
        "proxy variables alone",
        _not_posix,
        _enter_proxy,
        (
            "only TCP of programs that heed HTTP_PROXY, HTTPS_PROXY or ALL_PROXY goes through the pod; all "
            "else, UDP and DNS among it, takes this laptop's own network",
            "/etc/resolv.conf, /etc/hosts, host name and addresses are this laptop's; so is localhost, which "
            "all its programs share",
            "whoever calls the workload seems to call from localhost, which some programs trust",
            "the pod's volumes are not at their own paths, but copies below what TELEPRESENCE_ROOT names",
            "what the command leaves running when it ends runs on",
        ),
        offer="which needs none of this and does less",
    ),
)
"""In the order in which they are tried."""


def choose(
    facts: HostFacts, methods: Sequence[Method] = METHODS, asked: str | None = None
) -> tuple[list[Method], list[str]]:
    """Those worth trying here, in their order, the one that was `asked` for alone; and why others are not."""
    candidates = [one for one in methods if (one.name == asked if asked else not one.offer)]
    hindrances = [(method, method.hindrance(facts)) for method in candidates]
    worth_trying = [method for method, hindrance in hindrances if hindrance is None]
    return worth_trying, [f"{method.name}: {why}" for method, why in hindrances if why is not None]


def limits_of(name: object, contained: bool = False) -> tuple[str, ...]:
    """What the method of that name cannot do, for a command of the laptop's or for a container."""
    for method in METHODS:
        if method.name == name:
            return method.container_limits if contained else method.limits
    return ()


def serve_none(path: str, descriptor: int) -> None:
    """For who asks for no live volume."""
    import os

    os.close(descriptor)


@asynccontextmanager
async def enter(
    view: NetworkView,
    report: Report,
    serve: Serve = serve_none,
    methods: Sequence[Method] = METHODS,
    asked: str | None = None,
) -> AsyncIterator[World]:
    """The child's world by the method that was `asked` for, else by the first that works, until this is left
    (trio).

    `serve` is for the live volumes of the view.

    Each method's whole set-up is its probe. PreconditionFailed, when none works, names the step that failed
    and its cure.
    """
    from telepresence_py.isolation.facts import gather
    from telepresence_py.isolation.refusals import explain
    from telepresence_py.isolation.steps import StepRefused
    from telepresence_py.model.errors import PreconditionFailed
    from telepresence_py.model.events import Event, Level

    def notice(text: str) -> None:
        report(Event("isolation-notice", text, Level.NOTICE))

    facts = gather()
    worth_trying, reasons = choose(facts, methods, asked)
    for method in worth_trying:
        async with AsyncExitStack() as stack:
            try:
                world = await stack.enter_async_context(method.enter(view, notice, serve))
            except StepRefused as refused:
                reasons.append(explain(refused.refusal, facts))
                continue
            report(_told(method, reasons, is_first=method is methods[0]))
            yield world
            return
    others = [] if asked else [method for method in methods if method.offer and not method.hindrance(facts)]
    raise PreconditionFailed("; ".join(dict.fromkeys(reasons)) + _offered(others))


def _told(method: Method, reasons: Sequence[str], is_first: bool) -> Event:
    from telepresence_py.model.events import Event, Level

    text = f"isolated by {method.title} (--method {method.name})" + "".join(f"; {why}" for why in reasons)
    level = Level.DETAIL if is_first else Level.NOTICE
    return Event("isolated", text, level, {"method": method.name})


def _offered(methods: Sequence[Method]) -> str:
    offers = [f"--method {method.name}, {method.offer}" for method in methods]
    return f"; or take {', or '.join(offers)}" if offers else ""
