"""The method "docker": as "sudo", but that a container of docker's starts the process that makes the user
namespace, as who we are and with that one right. It comes to the session by a socket of ours.

Another container can then share the helper's network and processes, and be the child: docker knows both. Its
files are copies in plain directories, as docker sees no mount of ours.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from telepresence_py.isolation import userns
from telepresence_py.isolation.contract import Serve
from telepresence_py.isolation.facts import HostFacts, gather
from telepresence_py.isolation.inside import Inside
from telepresence_py.isolation.laying_out import laid_out
from telepresence_py.isolation.meeting import hand_control, meeting_place, pid_of_peer
from telepresence_py.isolation.own_directory import own_directory, remove_left
from telepresence_py.isolation.steps import Refusal, Step, StepRefused
from telepresence_py.model.world import ContainerPlace, NetworkView
from telepresence_py.process.docker import Daemon, DockerFailed, find_daemon
from telepresence_py.process.helper_container import (
    HelperContainer,
    bring_image,
    empty_directory,
    helper_words,
)
from telepresence_py.process.raised_program import raised_command
from telepresence_py.process.records import runtime_directory

AGENT = "telepresence_py.isolation.agent"
_PREFIX = "docker-"
_MEET_SECONDS = 60.0


def hindrance(facts: HostFacts) -> str | None:
    """PURE."""
    if facts.platform != "linux":
        return f"namespaces need Linux, this is {facts.platform}"
    if facts.user_id == 0:
        return "you are root, who has what docker gives: --method userns is the same"
    if facts.max_user_namespaces == 0:
        return (
            "user.max_user_namespaces is 0, which root may not pass either: raise it as root with "
            "`sysctl -w user.max_user_namespaces=15000`, then --method userns works"
        )
    programs = (("docker", facts.docker), ("nsenter", facts.nsenter), ("setpriv", facts.setpriv))
    missing = [name for name, path in programs if not path]
    return f"this machine has no {' and no '.join(missing)}: install it" if missing else None


@asynccontextmanager
async def enter(view: NetworkView, notice: Callable[[str], None], serve: Serve) -> AsyncIterator[Inside]:
    """As `userns.enter`; docker removes the helper by itself once its process has ended, which it has when
    this is left."""
    try:
        daemon = await trio.to_thread.run_sync(find_daemon)
        await trio.to_thread.run_sync(bring_image, daemon)
    except DockerFailed as failed:
        raise _refused(str(failed)) from failed
    async with AsyncExitStack() as stack:
        if view.container:
            stack.push_async_callback(_remove_left, daemon)
        directory = stack.enter_context(own_directory(runtime_directory(), _PREFIX))
        name = f"telepresence-py-{os.path.basename(directory).removeprefix(_PREFIX)}"
        helper, connection = await _meet(daemon, directory, name, view)
        stack.callback(connection.close)

        def start(control: socket.socket) -> HelperContainer:
            hand_control(connection, control)
            return helper

        def heir(pid: int) -> HelperContainer:
            helper.is_continued_by(pid)
            return helper

        if not view.container:
            yield await stack.enter_async_context(userns.enter(view, notice, serve, start, heir))
            return
        root = os.path.join(directory, "files")
        whole = view._replace(volume_files={**view.files, **view.volume_files})
        directories = stack.enter_context(laid_out(root, whole))
        entering = userns.enter(without_files(view), notice, serve, start, heir)
        inside = await stack.enter_async_context(entering)
        inside.leave_namespaces()
        inside.container = ContainerPlace(inside.agent_pid, root, name, daemon.address)
        inside.volume_directories = directories
        try:
            yield inside
        finally:
            inside.volume_directories = {}  # which are not its own to close


async def _remove_left(daemon: Daemon) -> None:
    """What root of a container wrote into a copy of a volume is root's."""
    find = gather().find

    def empty(directory: Path) -> None:
        empty_directory(daemon, find, directory)

    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(remove_left, runtime_directory(), _PREFIX, empty if find else None)


def without_files(view: NetworkView) -> NetworkView:
    """PURE. What is left for the agent where docker binds the files."""
    return NetworkView(
        view.hostname, view.addresses, helper_ports=view.helper_ports, held=view.held, container=True
    )


async def _meet(
    daemon: Daemon, directory: str, name: str, view: NetworkView
) -> tuple[HelperContainer, socket.socket]:
    """The helper and the connection to our program in it. What started nevertheless when this fails finds
    nobody, and ends."""
    facts = gather()
    path = os.path.join(directory, "agent")
    command = raised_command(facts.setpriv, AGENT, path, "first" if view.container else "raised")
    try:
        listener = meeting_place(path)
    except OSError as error:
        raise _refused(f"no socket can be made at {path}: {error.strerror or error}") from error
    with listener:
        words = helper_words(name, facts.nsenter, command, view.hostname if view.container else "")
        helper = HelperContainer(daemon, words)
        try:
            connection = await _accepted(listener, helper)
            helper.is_met(pid_of_peer(connection))
        except OSError as error:
            raise _refused(f"its container is not what was started: {error.strerror or error}") from error
        finally:
            helper.let_go()
            os.unlink(path)
    return helper, connection


async def _accepted(listener: socket.socket, helper: HelperContainer) -> socket.socket:
    """StepRefused with docker's own words when its client ends first, or nobody comes in time."""
    async with trio.open_nursery() as nursery:

        async def watch_client() -> None:
            await trio.lowlevel.wait_readable(helper.client_ended)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch_client)
        with trio.move_on_after(_MEET_SECONDS):
            await trio.lowlevel.wait_readable(listener)
            connection, _address = listener.accept()
            connection.setblocking(True)
            nursery.cancel_scope.cancel()
            return connection
        nursery.cancel_scope.cancel()
    said = helper.last_words or f"nothing within {_MEET_SECONDS:g} s"
    raise _refused(f"the process that makes the namespaces did not start; docker says: {said}")


def _refused(detail: str) -> StepRefused:
    return StepRefused(Refusal(Step.DOCKER, errno.EPERM, detail))
