"""What is known of pods when the watch that should tell of them is dead."""

from __future__ import annotations

import trio
import trio.testing

from telepresence_py.cluster.client import open_cluster
from telepresence_py.model.intent import ClusterChoice
from telepresence_py.session import podboard as podboard_module
from telepresence_py.session.podboard import PodBoard
from tests.fakes.cluster import fake_cluster, no_plugin, write_kubeconfig
from tests.telepresence_py.session.swapping import until, with_orders


def test_a_look_anew_does_not_wait_for_a_watch_that_tells_nothing(tmp_path, monkeypatch):
    watched = []

    async def dead_watch(_cluster, _selector, version, _on_event):
        watched.append(version)
        await trio.sleep_forever()

    monkeypatch.setattr(podboard_module, "watch_pods", dead_watch)

    async def main(cluster):
        choice = ClusterChoice(write_kubeconfig(tmp_path / "config", cluster.url))
        async with open_cluster(choice, no_plugin) as opened, trio.open_nursery() as nursery:
            board = PodBoard(opened, "app=orders", lambda _event: None)
            nursery.start_soon(board.follow)
            with trio.fail_after(20):
                await until(lambda: watched)
                assert len(board.pods) == 1
                cluster.remove("deployments", "orders")
                await trio.testing.wait_all_tasks_blocked()
                assert len(board.pods) == 1, "the watch is dead"
                await board.look_anew().wait()
                assert board.pods == {}
                await until(lambda: len(watched) == 2)
            nursery.cancel_scope.cancel()

    with fake_cluster() as cluster:
        trio.run(main, with_orders(cluster, 1))
