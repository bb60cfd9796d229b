from __future__ import annotations

import asyncio

from telepresence_sidecar.contract.heartbeat import SILENCE, LinkSilent
from tests.fakes.loop import in_virtual_time
from tests.fakes.wire import MuxPair


@in_virtual_time
async def test_silence_ends_the_pipe_and_not_the_mux() -> None:
    pair = MuxPair()
    await asyncio.sleep(5)
    silent_since = pair.laptop.loop.time()
    pair.pod_wire.held = True
    leg = pair.laptop_wire.leg
    assert isinstance(await leg.ended, LinkSilent)
    assert SILENCE - 2 <= pair.laptop.loop.time() - silent_since <= 10
    assert not pair.laptop_link.up
    assert not pair.laptop.lost.done()


@in_virtual_time
async def test_answers_keep_an_idle_pipe_alive() -> None:
    pair = MuxPair()
    await asyncio.sleep(3600)
    assert pair.laptop_link.up
    assert pair.pod_link.up


@in_virtual_time
async def test_a_process_that_was_stopped_itself_does_not_blame_the_pipe() -> None:
    pair = MuxPair()
    await asyncio.sleep(1)
    pair.pod_wire.held = True
    pair.laptop.loop.impatient.now += 600  # type: ignore[attr-defined]
    await asyncio.sleep(SILENCE - 2)
    pair.pod_wire.release()
    await asyncio.sleep(60)
    assert pair.laptop_link.up
