"""What is lost with a pipe, and what is not. Two muxes in this process; pipes between their links break."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import random

import pytest

from telepresence_sidecar.contract.claim import claim, parse_claim
from telepresence_sidecar.contract.credit import INITIAL_WINDOW
from telepresence_sidecar.contract.frames import FrameType, Kind, Opening, ProtocolError, encode
from telepresence_sidecar.contract.heartbeat import LinkSilent
from telepresence_sidecar.contract.link import RIDE_SECONDS, Link, LinkGone
from telepresence_sidecar.contract.pace import FLOOR
from telepresence_sidecar.contract.stream import HIGH_WATER
from tests.fakes.loop import in_loop, in_virtual_time, until
from tests.fakes.sink import Recorder
from tests.fakes.wire import MemoryPipe, MuxPair, connected

TCP = Opening(Kind.TCP, "orders", 80)


async def exchange(pair: MuxPair, up: bytes, down: bytes) -> None:
    """Streams open, talk both ways at once, and end; every byte arrives once, and so does every end."""
    near, near_heard, far, far_heard = await connected(pair)
    for position in range(0, max(len(up), len(down)), 5000):
        near.write(up[position : position + 5000])
        far.write(down[position : position + 5000])
        await asyncio.sleep(0)
    near.write_eof()
    far.write_eof()
    await near_heard.eof.wait()
    await far_heard.eof.wait()
    near.close()
    far.close()
    assert await near_heard.lost is None
    assert await far_heard.lost is None
    assert hashlib.blake2b(far_heard.received).digest() == hashlib.blake2b(up).digest()
    assert hashlib.blake2b(near_heard.received).digest() == hashlib.blake2b(down).digest()


@pytest.mark.parametrize("which", ["laptop_wire", "pod_wire"])
@in_loop
async def test_a_cut_at_any_byte_loses_and_doubles_nothing(which: str) -> None:
    whole = MuxPair()
    await exchange(whole, b"question", b"answer")
    for budget in range(1, getattr(whole, which).sent + 1):
        pair = MuxPair(seed=budget)
        wire: MemoryPipe = getattr(pair, which)
        wire.budget = budget
        pair.on_laptop_link = lambda up, pair=pair: up or pair.connect()  # type: ignore[misc]
        if which == "pod_wire" and budget < 16:  # before WELCOME was whole the laptop knows of no link
            wire.leg.ended.add_done_callback(lambda _, pair=pair: pair.laptop_link.up or pair.connect())
        await exchange(pair, b"question", b"answer")
        assert pair.laptop_link.received == pair.pod_link.sent


@pytest.mark.parametrize("seed", range(20))
@in_loop
async def test_many_cuts_in_bulk_both_ways_lose_and_double_nothing(seed: int) -> None:
    dice = random.Random(seed)
    pair = MuxPair(seed, capacity=dice.choice([1000, 40_000, 200_000]))
    cuts = 0

    def again(up: bool) -> None:
        nonlocal cuts
        if not up and not pair.laptop.lost.done():
            cuts += 1
            pair.connect()
            if cuts < 12:
                wire = dice.choice([pair.laptop_wire, pair.pod_wire])
                wire.budget = dice.choice([17, 500, 20_000, 150_000])

    pair.on_laptop_link = again
    pair.laptop_wire.budget = dice.randrange(100, 5000)
    await exchange(
        pair, dice.randbytes(dice.choice([10, 700_000])), dice.randbytes(dice.choice([0, 600_000]))
    )
    await exchange(pair, dice.randbytes(300_000), dice.randbytes(300_000))
    assert cuts
    assert not pair.laptop.lost.done()


@in_loop
async def test_what_is_kept_is_bounded_while_nobody_acknowledges_and_while_the_link_is_down() -> None:
    pair = MuxPair()
    near, near_heard, _, far_heard = await connected(pair)
    others = [(await connected(pair))[0] for _ in range(FLOOR // INITIAL_WINDOW)]
    pair.pod_wire.held = True  # acknowledgements, too
    for stream in (near, *others):
        stream.write(bytes(4 << 20))
    await until(lambda: pair.laptop_link.kept >= FLOOR)
    await asyncio.sleep(0.01)
    assert pair.laptop_link.kept < FLOOR + (128 << 10)
    pair.cut()
    await until(lambda: not pair.laptop_link.up)
    other = pair.laptop.open(TCP)
    other_heard = Recorder()
    other.set_protocol(other_heard)
    other.write(bytes(HIGH_WATER + 1))
    await asyncio.sleep(0.01)
    assert near_heard.paused, "each connection's own sender waits"
    assert other_heard.paused
    assert pair.laptop_link.kept < FLOOR + (128 << 10)
    pair.connect()
    await until(lambda: far_heard.size == 4 << 20)
    await until(lambda: pair.laptop_link.kept == 0)
    assert not near_heard.paused


@in_loop
async def test_opens_resets_and_messages_wait_for_the_next_pipe() -> None:
    pair = MuxPair()
    near, _, _, far_heard = await connected(pair)
    pair.cut()
    await until(lambda: not pair.laptop_link.up and not pair.pod_link.up)
    pair.laptop.send_message({"n": 1})
    pair.laptop.open(TCP, b"first")
    near.abort(errno.ETIMEDOUT)
    await asyncio.sleep(0.01)
    assert not pair.pod_heard
    pair.connect()
    reason = await far_heard.lost
    assert isinstance(reason, OSError)
    assert reason.errno == errno.ETIMEDOUT
    assert pair.pod_heard == [{"n": 1}]
    assert len(pair.at_pod) == 1


@in_loop
async def test_a_second_pipe_replaces_a_half_dead_first_and_its_late_bytes_are_not_heard() -> None:
    pair = MuxPair()
    near, near_heard, far, far_heard = await connected(pair)
    old_laptop, old_pod = pair.laptop_wire, pair.pod_wire
    old_laptop.held = old_pod.held = True
    near.write(b"up")
    far.write(b"down")
    await until(lambda: old_laptop.room() < 128 << 10)
    old_leg = old_pod.leg
    pair.connect()
    assert isinstance(await old_leg.ended, ConnectionResetError)
    await until(lambda: far_heard.received == b"up" and near_heard.received == b"down")
    old_leg.feed(encode(FrameType.GONE, 0))
    await asyncio.sleep(0.01)
    assert not pair.pod.lost.done()
    assert pair.pod_link.up


@in_loop
async def test_who_gives_the_link_up_tells_the_other_end() -> None:
    pair = MuxPair()
    _, near_heard, _, _ = await connected(pair)
    pair.pod.abort()
    assert isinstance(await pair.laptop.lost, LinkGone)
    assert isinstance(await near_heard.lost, ConnectionResetError)
    assert not pair.laptop_link.up


@in_loop
async def test_a_claim_that_cannot_be_true_changes_nothing() -> None:
    pair = MuxPair()
    near, _, _, far_heard = await connected(pair)
    pipe, _ = MemoryPipe.pair(random.Random())
    for received in (-1, 1 << 40):
        with pytest.raises(ProtocolError):
            pair.pod_link.resume(pipe, received)
    near.write(b"still here")
    await until(lambda: far_heard.received == b"still here")


@pytest.mark.parametrize(
    "frame", [encode(FrameType.ACK, 0, (1 << 40).to_bytes(8, "big")), encode(FrameType.PONG, 0)]
)
@in_loop
async def test_nonsense_of_the_other_end_ends_the_link_for_good(frame: bytes) -> None:
    pair = MuxPair()
    await connected(pair)
    await until(lambda: pair.laptop_wire.leg.reader.held == 0)  # else it would lie in the middle of another
    pair.laptop_wire.leg.feed(frame)
    assert isinstance(pair.laptop.lost.result(), ProtocolError)


@in_virtual_time
async def test_a_pipe_that_swallows_everything_is_noticed_within_ten_seconds_at_both_ends() -> None:
    pair = MuxPair()
    near, _, _, far_heard = await connected(pair)
    await asyncio.sleep(60)
    loop = asyncio.get_running_loop()
    began = loop.time()
    pair.laptop_wire.held = pair.pod_wire.held = True
    near.write(b"into the void")
    legs = pair.laptop_wire.leg, pair.pod_wire.leg
    for leg in legs:
        assert isinstance(await leg.ended, LinkSilent)
    assert loop.time() - began <= 10
    pair.connect()
    await until(lambda: far_heard.received == b"into the void")


@in_virtual_time
async def test_a_quiet_end_acknowledges_soon_and_a_talking_one_along_with_what_it_says() -> None:
    pair = MuxPair()
    near, near_heard, far, far_heard = await connected(pair)
    await until(lambda: pair.laptop_link.kept == pair.pod_link.kept == 0)
    sent = pair.pod_wire.sent
    near.write(b"x")
    await until(lambda: far_heard.received == b"x" and pair.laptop_link.kept == 0)
    assert pair.pod_wire.sent - sent == 16
    sent = pair.pod_wire.sent
    near.write(b"y")
    await until(lambda: far_heard.received == b"xy")
    await asyncio.sleep(RIDE_SECONDS)
    far.write(b"z")
    await until(lambda: near_heard.received == b"z")
    await asyncio.sleep(0.1)
    assert pair.pod_wire.sent - sent == 16 + 9
    assert pair.laptop_link.kept == 0


def test_a_claim_survives_and_what_is_none_does_not() -> None:
    assert parse_claim(claim("00ff", 17)) == ("00ff", 17)
    for text in ("", "00ff", "00ff many", "00ff 1 2"):
        with pytest.raises(ValueError, match=r"."):
            parse_claim(text)


@in_loop
async def test_a_link_that_is_over_is_not_written_to() -> None:
    link = Link("1")
    link.abort()
    link.write([b"frame"], False)
    assert link.kept == 0
    assert link.room() == 0
