from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from telepresence_py.model.errors import ClusterUnreachable, SessionLost, one_error
from telepresence_py.session import tunnels as tunnels_module
from telepresence_py.session.tunnels import Tunnels
from telepresence_py.tunnel import bridge, connection
from tests.fakes.tunnel import FakePod


@dataclass(frozen=True)
class _replica:
    pod_name: str


@dataclass(frozen=True)
class _Dying(_replica):
    reason: str | None
    gone: trio.Event = field(default_factory=trio.Event)
    dial = None

    async def wait_running(self):
        return "SHA256:x"

    def lost_because(self):
        return self.reason


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


def test_a_session_without_successors_is_lost_with_its_last_tunnel_and_not_before():
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


def test_a_followed_session_waits_for_the_next_tunnel_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(tunnels_module, "NEXT_SECONDS", 0.1)

    async def main():
        pods, tunnels = [FakePod(), FakePod()], Tunnels()
        tunnels.followed = True
        tunnels.add("pod-0", pods[0].tunnel())

        async def wait():
            with pytest.raises(SessionLost, match="no pod stood"):
                await tunnels.wait_lost()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            pods[0].cut()
            await tunnels.members[0].lost.wait()
            tunnels.add("pod-1", pods[1].tunnel())
            await trio.sleep(0.15)
            pods[1].cut()
            await trio.sleep(5)
            raise AssertionError

    bridge.run(main)


@pytest.mark.parametrize(
    ("reason", "kind", "text"),
    [
        (None, ClusterUnreachable, "received 500"),
        ("it has ended (container main Error)", SessionLost, "pod-0 was lost .* it has ended"),
    ],
)
def test_who_dies_while_it_is_connected_is_named_and_not_the_server(monkeypatch, reason, kind, text):
    def refused(*_arguments):
        raise ClusterUnreachable("received 500")

    monkeypatch.setattr(connection, "open_tunnel", refused)
    replica = _Dying("pod-0", reason)

    async def main():
        async with trio.open_nursery() as nursery:
            async with tunnels_module.open_tunnels(nursery, [replica], None, 1.0, lambda event: None):
                raise AssertionError

    with pytest.raises(kind, match=text), one_error():
        bridge.run(main)


def test_nothing_new_leaves_by_a_pod_that_is_going_while_there_is_another():
    async def main():
        pods, tunnels = [FakePod(), FakePod()], Tunnels()
        for number, pod in enumerate(pods):
            tunnels.add(f"pod-{number}", pod.tunnel())
        first, second = tunnels.members
        await tunnels.pass_on(_replica("pod-0"), ("10.1.2.4",))
        assert tunnels.any_live() is second
        assert pods[0].originals == ("10.1.2.4",)
        assert not pods[0].left
        pods[1].cut()
        await second.lost.wait()
        assert tunnels.any_live() is first

    bridge.run(main)


def test_nothing_new_leaves_by_a_link_that_is_down_while_another_stands():
    async def main():
        pods, tunnels = [FakePod(), FakePod()], Tunnels()
        for number, pod in enumerate(pods):
            tunnels.add(f"pod-{number}", pod.tunnel())
            await tunnels.members[number].link_up.wait()
        first, second = tunnels.members
        pods[0].cut_link()
        await first.link_down.wait()
        assert tunnels.any_live() is second
        pods[1].cut_link()
        await second.link_down.wait()
        assert tunnels.any_live() is first
        pods[1].mend_link()
        await second.link_up.wait()
        assert tunnels.any_live() is second

    bridge.run(main)


def test_what_attaches_to_tunnels_hears_of_those_to_come():
    async def main():
        pods, tunnels, heard = [FakePod(), FakePod()], Tunnels(), []
        tunnels.add("pod-0", pods[0].tunnel())
        tunnels.attach_to(heard.append)
        tunnels.add("pod-1", pods[1].tunnel())
        assert tuple(heard) == tunnels.members

    bridge.run(main)


def test_a_pod_reports_ready_once_the_child_serves():
    async def main():
        pod, tunnels, serves = FakePod(), Tunnels(), trio.Event()
        tunnel = pod.tunnel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tunnels.report_ready, tunnel)
            tunnels.ready_when(serves.wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not pod.ready
            serves.set()
        with trio.fail_after(5):
            while not pod.ready:  # noqa: ASYNC110  the message is under way
                await trio.sleep(0.01)

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


def test_a_lost_link_is_waited_for_as_long_as_it_takes_and_lost_pods_are_not(monkeypatch):
    monkeypatch.setattr(tunnels_module, "NEXT_SECONDS", 0.05)

    async def main():
        pod, tunnels = FakePod(), Tunnels()
        tunnels.followed = True
        tunnels.add("pod-0", pod.tunnel())
        replica = _replica("pod-0")
        pod.cut()
        await tunnels.members[0].lost.wait()
        assert tunnels.cut_off(replica)
        assert not tunnels.cut_off(replica), "it is news once"
        with trio.move_on_after(0.3) as waiting:
            await tunnels.wait_lost()
        assert waiting.cancelled_caught
        tunnels.not_cut_off(replica)  # the API server is there again, and says that the pod has ended
        with trio.fail_after(5), pytest.raises(SessionLost, match="no pod stood"):
            await tunnels.wait_lost()

    bridge.run(main)


def test_who_wants_to_end_with_the_link_does_so_once_it_is_known_to_be_lost_and_not_the_pod():
    async def main():
        pod, tunnels = FakePod(), Tunnels()
        tunnels.followed = tunnels.ends_with_link = True
        tunnels.add("pod-0", pod.tunnel())
        pod.cut()
        await tunnels.members[0].lost.wait()
        with trio.move_on_after(0.1) as waiting:
            await tunnels.wait_lost()
        assert waiting.cancelled_caught, "its pod may have been taken, and have a successor"
        assert not tunnels.cut_off(_replica("pod-0")), "nobody is told that the session goes on"
        with trio.fail_after(5), pytest.raises(SessionLost, match="--on-lost exit"):
            await tunnels.wait_lost()

    bridge.run(main)
