from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio

from telepresence_py.model.errors import SessionLost
from telepresence_py.session.tunnels import Tunnels
from telepresence_py.tunnel import bridge
from tests.fakes.tunnel import FakePod


def _replica(name):
    return SimpleNamespace(pod_name=name)


def test_new_connections_leave_by_a_tunnel_that_lives():
    async def main():
        pods, tunnels = [FakePod(), FakePod()], Tunnels()
        for number, pod in enumerate(pods):
            tunnels.add(f"pod-{number}", pod.tunnel())
        first, second = tunnels.members
        assert tunnels.any_live() is first
        pods[0].cut()
        await first.lost.wait()
        assert tunnels.any_live() is second

    bridge.run(main)


def test_the_session_is_lost_with_its_last_tunnel_and_not_before():
    async def main():
        pods, tunnels = [FakePod(), FakePod()], Tunnels()
        for number, pod in enumerate(pods):
            tunnels.add(f"pod-{number}", pod.tunnel())
        pods[0].cut()
        with trio.move_on_after(0.05) as waiting:
            await tunnels.wait_lost()
        assert waiting.cancelled_caught
        pods[1].cut()
        with pytest.raises(SessionLost):
            await tunnels.wait_lost()

    bridge.run(main)


def test_handing_over_tells_the_address_and_says_goodbye():
    async def main():
        pod, tunnels = FakePod(), Tunnels()
        tunnels.add("pod-0", pod.tunnel())
        await tunnels.hand_over(_replica("pod-0"), ("10.1.2.4",))
        assert pod.originals == ("10.1.2.4",)
        assert pod.left

    bridge.run(main)


def test_a_lost_or_unknown_sidecar_has_nothing_to_hand_over():
    async def main():
        pod, tunnels = FakePod(), Tunnels()
        tunnels.add("pod-0", pod.tunnel())
        pod.cut()
        await tunnels.members[0].lost.wait()
        await tunnels.hand_over(_replica("pod-0"), ("10.1.2.4",))
        await tunnels.hand_over(_replica("pod-1"), ("10.1.2.4",))
        assert pod.originals == ()

    bridge.run(main)
