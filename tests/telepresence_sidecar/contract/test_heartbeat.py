from __future__ import annotations

import asyncio

from telepresence_sidecar.contract.heartbeat import INTERVAL, SILENCE, Heartbeat, LinkSilent
from tests.fakes.loop import in_virtual_time
from tests.fakes.wire import MuxPair


@in_virtual_time
async def test_silence_ends_the_mux() -> None:
    pair = MuxPair()
    pair.pod_wire.held = True
    Heartbeat(pair.laptop).start()
    assert isinstance(await pair.laptop.lost, LinkSilent)
    assert SILENCE < pair.laptop.loop.time() <= SILENCE + 2 * INTERVAL


@in_virtual_time
async def test_answers_keep_an_idle_mux_alive() -> None:
    pair = MuxPair()
    Heartbeat(pair.laptop).start()
    await asyncio.sleep(3600)
    assert not pair.laptop.lost.done()
    pair.laptop.abort()


@in_virtual_time
async def test_a_process_that_was_stopped_itself_does_not_blame_the_link() -> None:
    pair = MuxPair()
    Heartbeat(pair.laptop).start()
    await asyncio.sleep(1)
    pair.pod_wire.held = True
    pair.laptop.loop.impatient.now += 600  # type: ignore[attr-defined]
    await asyncio.sleep(SILENCE - 2)
    pair.pod_wire.release()
    await asyncio.sleep(60)
    assert not pair.laptop.lost.done()
    pair.laptop.abort()
