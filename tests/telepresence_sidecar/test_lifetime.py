from __future__ import annotations

import asyncio

from telepresence_sidecar import lifetime as module
from telepresence_sidecar.contract.splice import reset
from telepresence_sidecar.inbound import Inbound
from telepresence_sidecar.lifetime import Lifetime
from tests.fakes.loop import in_loop, in_virtual_time, until
from tests.telepresence_sidecar.inbound_pod import Pod


def inbound() -> Inbound:
    return Inbound(10, 10.0, is_own=lambda address: False)


@in_loop
async def test_it_ends_when_no_client_ever_comes(monkeypatch) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.02)
    lifetime = Lifetime(inbound(), grace=0.05, drain_seconds=1.0)
    lifetime.begin()
    assert await lifetime.ended == "no client for 0.05 s"


@in_virtual_time
async def test_the_first_client_has_its_time_however_short_the_grace_period_is() -> None:
    lifetime = Lifetime(inbound(), grace=1.0, drain_seconds=1.0)
    lifetime.begin()
    await asyncio.sleep(module.FIRST_SECONDS - 1)
    assert not lifetime.ended.done()
    lifetime.client_came()
    lifetime.client_lost()
    await asyncio.sleep(1.1)
    assert lifetime.ended.result() == "no client for 1 s"


@in_loop
async def test_a_client_that_comes_back_in_time_keeps_it_alive() -> None:
    lifetime = Lifetime(inbound(), grace=0.05, drain_seconds=1.0)
    lifetime.client_lost()
    lifetime.client_came()
    lifetime.client_lost()
    lifetime.client_came()
    passed = asyncio.get_running_loop().time() + 0.2
    await until(lambda: asyncio.get_running_loop().time() > passed)
    assert not lifetime.ended.done()


@in_loop
async def test_seconds_of_silence_count_but_leave_time_to_dial_anew(monkeypatch) -> None:
    monkeypatch.setattr(module, "DIAL_SECONDS", 0.05)
    loop = asyncio.get_running_loop()
    for grace, silent, waits in ((60.0, 59.95, 0.05), (60.0, 120.0, 0.05), (0.02, 8.0, 0.02)):
        lifetime = Lifetime(inbound(), grace, drain_seconds=1.0)
        lifetime.client_came()
        began = loop.time()
        lifetime.client_lost(silent)
        assert not lifetime.ended.done()
        assert await lifetime.ended == f"no client for {grace:g} s"
        assert loop.time() - began >= waits * 0.9


@in_loop
async def test_a_goodbye_ends_it_at_once() -> None:
    lifetime = Lifetime(inbound(), grace=60.0, drain_seconds=1.0)
    lifetime.client_came()
    lifetime.client_left()
    assert await lifetime.ended == "the client left"


@in_loop
async def test_deletion_ends_it_at_once_when_nothing_is_under_way_and_nobody_is_there() -> None:
    lifetime = Lifetime(inbound(), grace=60.0, drain_seconds=1.0)
    lifetime.client_came()
    lifetime.client_lost()
    lifetime.terminate()
    assert lifetime.ended.result() == "the pod is deleted"


@in_loop
async def test_a_client_that_is_there_has_time_to_hand_over_what_still_comes() -> None:
    """SIGTERM may come within milliseconds of the deletion, before its session has heard of that."""
    pod = await Pod().start()
    lifetime = Lifetime(pod.inbound, grace=60.0, drain_seconds=60.0)
    lifetime.client_came()
    loop = asyncio.get_running_loop()
    began = loop.time()
    lifetime.terminate()
    pod.inbound.hand_over(["127.0.0.4"])
    lifetime.handed_over()
    caller, _ = await pod.call()
    await pod.held(1)
    passed = began + module.STOP_SECONDS + 0.1
    await until(lambda: loop.time() > passed)
    assert not lifetime.ended.done(), "what it passed on is not cut like that of a pod that is simply deleted"
    reset(caller)
    assert await lifetime.ended == "the pod is deleted"


@in_loop
async def test_a_deleted_pod_whose_client_lives_serves_until_there_is_a_successor() -> None:
    pod = await Pod().start()
    lifetime = Lifetime(pod.inbound, grace=60.0, drain_seconds=module.STOP_SECONDS + 0.5)
    lifetime.client_came()
    await pod.call()
    await pod.held(1)
    lifetime.terminate()
    assert f"cut after {module.STOP_SECONDS + 0.5:g} s" in await lifetime.ended


@in_loop
async def test_a_deleted_pod_whose_client_goes_ends_at_once() -> None:
    lifetime = Lifetime(inbound(), grace=60.0, drain_seconds=1.0)
    lifetime.client_came()
    lifetime.terminate()
    assert not lifetime.ended.done()
    lifetime.client_lost()
    assert lifetime.ended.result() == "the pod is deleted"


@in_loop
async def test_who_waits_for_a_client_that_is_lost_is_forsaken_with_the_deletion_and_not_before() -> None:
    forsaken: list[bool] = []
    pod = await Pod().start()
    lifetime = Lifetime(pod.inbound, grace=60.0, drain_seconds=1.0)
    lifetime.forsake = lambda: forsaken.append(True)
    lifetime.client_came()
    lifetime.client_lost()
    assert not forsaken
    lifetime.terminate()
    assert forsaken


@in_loop
async def test_deletion_lets_connections_finish_but_not_for_long() -> None:
    pod = await Pod().start()
    lifetime = Lifetime(pod.inbound, grace=60.0, drain_seconds=60.0)
    caller, _ = await pod.call()
    await pod.held(1)
    lifetime.terminate()
    assert not lifetime.ended.done()
    reset(caller)
    assert await lifetime.ended == "the pod is deleted"


@in_loop
async def test_after_handing_over_deletion_waits_for_the_last_connection_and_for_quiet() -> None:
    pod = await Pod().start()
    lifetime = Lifetime(pod.inbound, grace=60.0, drain_seconds=60.0)
    pod.inbound.hand_over(["127.0.0.4"])
    caller, _ = await pod.call()
    await pod.held(1)
    lifetime.client_left()
    loop = asyncio.get_running_loop()
    began = loop.time()
    lifetime.terminate()
    assert not lifetime.ended.done()
    reset(caller)
    assert await lifetime.ended == "the pod is deleted"
    assert loop.time() - began >= module.QUIET_SECONDS - 0.1


@in_loop
async def test_what_does_not_finish_is_cut_before_the_pod_is_killed() -> None:
    pod = await Pod().start()
    lifetime = Lifetime(pod.inbound, grace=60.0, drain_seconds=0.1)
    pod.inbound.hand_over(["127.0.0.4"])
    await pod.call()
    await pod.held(1)
    lifetime.terminate()
    assert "cut after 0.1 s" in await lifetime.ended


@in_loop
async def test_what_was_handed_over_is_served_for_the_grace_period_if_nobody_deletes_the_pod() -> None:
    pod = await Pod().start()
    lifetime = Lifetime(pod.inbound, grace=0.05, drain_seconds=60.0)
    pod.inbound.hand_over(["127.0.0.4"])
    lifetime.client_left()
    assert await lifetime.ended == "no client"
