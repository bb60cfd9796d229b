"""The method "podman": the namespaces of `userns`, but that the user namespace is rootless podman's.

It has all of the user's subordinate ids, so several users can be inside. And a container of podman's can be
started within, which then is the child: its files are laid out below a directory of the session's own, from
where the container tool binds them; the laptop's own paths stay as they are, as the tool works with them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from telepresence_py.isolation import userns
from telepresence_py.isolation.contract import Serve
from telepresence_py.isolation.inside import Inside
from telepresence_py.isolation.laying_out import root_path
from telepresence_py.isolation.own_directory import own_directory
from telepresence_py.isolation.steps import Refusal, Step, StepRefused
from telepresence_py.model.world import ContainerPlace, NetworkView
from telepresence_py.process.podman import PodmanFailed, open_user_namespace
from telepresence_py.process.records import runtime_directory

_PREFIX = "container-"


@asynccontextmanager
async def enter(view: NetworkView, notice: Callable[[str], None], serve: Serve) -> AsyncIterator[Inside]:
    """As `userns.enter`. Podman keeps its user namespace when this is left, as after any use of it."""
    if os.geteuid() == 0:
        raise _refused("it is for plain users, run this as one")
    try:
        made = await trio.to_thread.run_sync(open_user_namespace)
    except PodmanFailed as failed:
        raise _refused(str(failed)) from failed
    async with AsyncExitStack() as stack:
        stack.callback(os.close, made)
        if not view.container:
            yield await stack.enter_async_context(userns.enter(view, notice, serve, made=made))
            return
        root = stack.enter_context(own_directory(runtime_directory(), _PREFIX))
        serve = partial(_serve_below, root, serve)
        moved = below(root, view)
        inside = await stack.enter_async_context(userns.enter(moved, notice, serve, made=made))
        inside.container = ContainerPlace(inside.agent_pid, root)
        inside.volume_directories = {
            path.removeprefix(root): descriptor for path, descriptor in inside.volume_directories.items()
        }
        yield inside


def below(root: str, view: NetworkView) -> NetworkView:
    """PURE. The view with all its paths below `root`, out of which none leads."""

    def moved(contents: Mapping[str, bytes]) -> dict[str, bytes]:
        return {root_path(root, path): content for path, content in contents.items()}

    return view._replace(
        files=moved(view.files),
        volume_files=moved(view.volume_files),
        volume_paths=tuple(root_path(root, path) for path in view.volume_paths),
        writable_volume_paths=frozenset(root_path(root, path) for path in view.writable_volume_paths),
        live_volume_paths=tuple(root_path(root, path) for path in view.live_volume_paths),
    )


def _serve_below(root: str, serve: Serve, path: str, descriptor: int) -> None:
    serve(path.removeprefix(root), descriptor)


def _refused(detail: str) -> StepRefused:
    return StepRefused(Refusal(Step.PODMAN, errno.EPERM, detail))
