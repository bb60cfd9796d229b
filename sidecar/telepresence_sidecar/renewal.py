"""Volumes that the kubelet renews (ConfigMap, Secret, projected, downward API): which state one is in.

The kubelet writes each state whole into a directory of its own and renames the link `..data` over to it
(Kubernetes, pkg/volume/util/atomic_writer.go). So the link's target names the state, and what that directory
holds is complete for as long as the link leads there.
"""

from __future__ import annotations

import asyncio
import os

DATA = "..data"

LOOK_SECONDS = 1.0
"""So often a link is read while somebody waits for its volume. inotify would tell at once, but a node has few
instances for each user, and runtimes with a kernel of their own (gVisor, Kata) do not pass changes on."""


def state_of(path: str) -> str:
    """The name of the directory below `path` that holds the state; "" if the kubelet renews nothing there."""
    try:
        state = os.readlink(os.path.join(path, DATA))
    except OSError:
        return ""
    return "" if "/" in state else state


async def another_state(path: str, known: str) -> str:
    """Waits until the volume at `path` is in another state than `known`. All who wait look at one time."""
    loop = asyncio.get_running_loop()
    while (state := state_of(path)) in ("", known):  # noqa: ASYNC110 - the kubelet sets no event
        await asyncio.sleep(LOOK_SECONDS - loop.time() % LOOK_SECONDS)
    return state
