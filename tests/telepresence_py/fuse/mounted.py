"""A volume of a pod in memory, mounted for a forked process by the real kernel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from telepresence_py.isolation import userns
from telepresence_py.isolation.contract import FUSE_DEVICE
from telepresence_py.isolation.facts import no_live_volumes
from telepresence_py.isolation.inside import Inside
from telepresence_py.model.network import Mount
from telepresence_py.session.live_volumes import LiveVolumes, open_live
from telepresence_py.tunnel import bridge
from telepresence_py.tunnel.bridge import in_asyncio
from tests.fakes.loop import settle
from tests.fakes.tunnel import FakePod
from tests.telepresence_py.isolation.joined import DEADLINE, fork_agent, joined, run_as, view

needs_fuse = pytest.mark.skipif(no_live_volumes() is not None, reason=str(no_live_volumes()))

USER = "root" if os.geteuid() == 0 else "plain"


@dataclass
class Mounted:
    """A directory of this machine is the volume in the pod, and stands at the same path inside."""

    fake: FakePod
    live: LiveVolumes
    inside: Inside

    async def run(self, call: Callable[[], Any]) -> Any:
        """What it returns inside."""
        return await joined(self.inside, call)


def with_mounts(
    paths: Sequence[Path],
    body: Callable[[Mounted], Awaitable[Any]],
    read_only: bool = False,
    user: str = USER,
) -> Any:
    """What `body` returns while these directories are mounted inside, in this order; the pod's user is the
    same as the laptop's."""

    async def main() -> Any:
        with trio.fail_after(DEADLINE):
            os.umask(0)  # as in a pod
            fake = FakePod()
            tunnel = fake.tunnel()
            wanted = [Mount(str(path), "v", "emptyDir", read_only) for path in paths]
            live, _files = await open_live(tunnel, lambda: tunnel, wanted, lambda _event: None)
            shown = view(
                volume_paths=live.paths, writable_volume_paths=live.writable, live_volume_paths=live.paths
            )
            try:
                async with userns.enter(shown, lambda _text: None, live.serve, fork_agent) as inside:
                    try:
                        return await body(Mounted(fake, live, inside))
                    finally:
                        live.close()
            finally:
                live.close()
                await in_asyncio(settle)

    return run_as(user, lambda: bridge.run(main))


def inside_volume(path: Path, call: Callable[[], Any], read_only: bool = False) -> Any:
    """What `call` returns in a process inside, where `path` is a volume of the pod."""
    return with_mounts([path], lambda mounted: mounted.run(call), read_only)


def may_be_opened_by_all() -> bool:
    return os.stat(FUSE_DEVICE).st_mode & 0o006 == 0o006


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
