from __future__ import annotations

from telepresence_sidecar.contract.heartbeat import Heartbeat, LinkSilent
from tests.fakes.loop import in_loop, until
from tests.fakes.wire import MuxPair


@in_loop
async def test_silence_ends_the_mux() -> None:
    pair = MuxPair()
    pair.pod_wire.held = True
    Heartbeat(pair.laptop, interval=0.02, silence=0.1).start()
    assert isinstance(await pair.laptop.lost, LinkSilent)


@in_loop
async def test_answers_keep_an_idle_mux_alive() -> None:
    pair = MuxPair()
    Heartbeat(pair.laptop, interval=0.02, silence=0.1).start()
    deadline = pair.laptop.loop.time() + 0.4
    await until(lambda: pair.laptop.loop.time() > deadline)
    assert not pair.laptop.lost.done()
    pair.laptop.abort()
