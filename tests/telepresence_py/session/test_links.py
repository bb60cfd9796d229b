"""What is told of links: an outage once, however many links it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from telepresence_py.model.events import Event
from telepresence_py.session.links import LinkNews
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.tunnel.live import LiveTunnel

LOST = "Link to the cluster lost: connections wait, dialling again"


def told_in(main: Callable[[LinkNews, list[LiveTunnel]], Awaitable[None]]) -> list[str]:
    events: list[Event] = []

    async def run() -> None:
        news, tunnels = LinkNews(events.append), [LiveTunnel() for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for tunnel in tunnels:
                tunnel.on_link_up()
                nursery.start_soon(_follow, news, tunnel)
            await trio.testing.wait_all_tasks_blocked()
            await main(news, tunnels)
            nursery.cancel_scope.cancel()

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    return [event.text for event in events]


async def _follow(news: LinkNews, tunnel: Tunnel) -> None:
    await news.follow(tunnel, trio.Event())


def test_one_line_when_the_first_link_is_lost_and_one_when_all_are_back() -> None:
    async def main(_news: LinkNews, tunnels: list[LiveTunnel]) -> None:
        for tunnel in tunnels:
            tunnel.on_link_down()
            await trio.sleep(1)
        for tunnel in tunnels:
            tunnel.on_link_up()
            await trio.sleep(0.1)

    assert told_in(main) == [LOST, "Link back after 3.2 s: no connection was lost"]


def test_each_outage_is_told() -> None:
    async def main(_news: LinkNews, tunnels: list[LiveTunnel]) -> None:
        for _ in range(2):
            tunnels[0].on_link_down()
            await trio.sleep(1)
            tunnels[0].on_link_up()
            await trio.sleep(3)

    assert told_in(main) == [LOST, "Link back after 1.0 s: no connection was lost"] * 2


def test_what_each_link_notices_at_its_own_heartbeat_is_one_outage() -> None:
    async def main(_news: LinkNews, tunnels: list[LiveTunnel]) -> None:
        for tunnel in tunnels:
            tunnel.on_link_down()
            await trio.sleep(0.1)
            tunnel.on_link_up()
            await trio.sleep(0.8)
        await trio.sleep(3)

    assert told_in(main) == [LOST, "Link back after 1.9 s: no connection was lost"]


def test_a_link_that_is_given_up_while_its_pod_lives_is_told() -> None:
    async def main(news: LinkNews, tunnels: list[LiveTunnel]) -> None:
        tunnels[0].on_link_down()
        await trio.sleep(30)
        news.forget(tunnels[0], given_up=True)

    assert told_in(main) == [LOST, "Link not resumed after 30.0 s: its connections are lost, new ones go on"]


def test_a_tunnel_that_ends_with_its_link_up_says_nothing() -> None:
    async def main(news: LinkNews, tunnels: list[LiveTunnel]) -> None:
        tunnels[0].lost.set()
        tunnels[0].link_down.set()
        await trio.testing.wait_all_tasks_blocked()
        news.forget(tunnels[0], given_up=False)

    assert told_in(main) == []


def test_nothing_is_told_to_be_back_that_went_with_its_pod() -> None:
    async def main(news: LinkNews, tunnels: list[LiveTunnel]) -> None:
        tunnels[0].on_link_down()
        await trio.sleep(1)
        news.forget(tunnels[0], given_up=False)

    assert told_in(main) == [LOST]


def test_the_link_of_a_pod_that_is_gone_is_not_missed() -> None:
    async def main(news: LinkNews, _tunnels: list[LiveTunnel]) -> None:
        tunnel, gone = LiveTunnel(), trio.Event()
        tunnel.on_link_up()
        gone.set()
        tunnel.on_link_down()
        await news.follow(tunnel, gone)

    assert told_in(main) == []
