"""Two lanes: what is much goes beside what is little, and nothing overtakes its own stream."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from itertools import repeat

import pytest

from telepresence_sidecar.contract.credit import SPARE
from telepresence_sidecar.contract.frames import Frame, FrameType, Kind, Opening, ProtocolError
from telepresence_sidecar.contract.mux import MOST_EARLY
from telepresence_sidecar.contract.stream import MUCH, MUCH_SECONDS, MuxStream
from tests.fakes.loop import in_loop, in_virtual_time, until
from tests.fakes.sink import Recorder
from tests.fakes.wire import MuxPair, connected

TCP = Opening(Kind.TCP, "orders", 80)


async def speak(stream: MuxStream, heard: Recorder, data: bytes, dice: random.Random) -> None:
    """In pieces of any size, with pauses now and then, in which all that was sent arrives."""
    position = 0
    while position < len(data):
        step = dice.choice([1, 100, 5000, 100_000, 300_000])
        stream.write(data[position : position + step])
        position += step
        for _ in range(dice.choice([0, 0, 1, 200])):
            await asyncio.sleep(0)
        await until(lambda: not heard.paused)
    stream.write_eof()


@pytest.mark.parametrize("cuts", [0, 6])
@pytest.mark.parametrize("seed", range(10))
@in_loop
async def test_streams_keep_their_order_over_two_lanes_that_break(seed: int, cuts: int) -> None:
    dice = random.Random(seed)
    pair = MuxPair(seed, capacity=dice.choice([1000, 40_000, 200_000]))
    pair.widen()
    ends = [await connected(pair) for _ in range(4)]
    up = [dice.randbytes(dice.choice([0, 10, 5000, 2_000_000])) for _ in ends]
    down = [dice.randbytes(dice.choice([0, 10, 5000, 2_000_000])) for _ in ends]
    speaking = asyncio.gather(
        *(speak(near, heard, data, dice) for (near, heard, _, _), data in zip(ends, up, strict=True)),
        *(speak(far, heard, data, dice) for (_, _, far, heard), data in zip(ends, down, strict=True)),
    )
    for number in range(cuts):
        for _ in range(dice.randrange(300)):
            await asyncio.sleep(0)
        cut, link, connect = (
            (pair.cut, pair.laptop_link, pair.connect)
            if number % 2
            else (pair.cut_bulk, pair.laptop_bulk, pair.connect_bulk)
        )
        cut()
        await until(lambda link=link: not link.up)  # type: ignore[misc]
        connect()
    await speaking
    for near, near_heard, far, far_heard in ends:
        await near_heard.eof.wait()
        await far_heard.eof.wait()
        near.close()
        far.close()
        assert await near_heard.lost is None
        assert await far_heard.lost is None
    assert [heard.received for *_, heard in ends] == up
    assert [heard.received for _, heard, *_ in ends] == down


@in_loop
async def test_a_word_does_not_stand_behind_a_transfer_that_is_stuck() -> None:
    pair = MuxPair()
    pair.widen()
    bulk, _, _, bulk_heard = await connected(pair)
    talk, _, _, talk_heard = await connected(pair)
    pair.laptop_bulk_wire.held = True
    bulk.write(bytes(4 * MUCH))
    await until(lambda: pair.laptop_bulk.sent > 0)
    talk.write(b"a word")
    await until(lambda: talk_heard.received == b"a word")
    assert len(bulk_heard.received) < 4 * MUCH
    pair.laptop_bulk_wire.release()
    await until(lambda: len(bulk_heard.received) == 4 * MUCH)


@in_loop
async def test_a_stream_goes_on_in_the_other_lane_at_once_and_what_it_sent_before_comes_first() -> None:
    pair = MuxPair(capacity=1 << 20)
    pair.widen()
    bulk, _, _, heard = await connected(pair)
    await until(lambda: pair.laptop_link.acked == pair.laptop_link.sent)
    pair.laptop_wire.held = True
    data = random.Random(7).randbytes(4 * MUCH)
    bulk.write(data)
    bulk.write_eof()
    await until(lambda: pair.pod_bulk.received > 2 * MUCH)
    assert heard.received == b""
    assert not heard.eof.is_set()
    pair.laptop_wire.release()
    await heard.eof.wait()
    assert heard.received == data


@pytest.mark.parametrize("opener", ["laptop", "pod"])
@in_loop
async def test_what_overtakes_the_open_of_its_stream_waits_for_it(opener: str) -> None:
    pair = MuxPair(capacity=1 << 20)
    pair.widen()
    await until(lambda: pair.laptop_link.up and pair.pod_link.up)
    at_laptop = opener == "laptop"
    mux, wire = (pair.laptop, pair.laptop_wire) if at_laptop else (pair.pod, pair.pod_wire)
    opened, bulk = (pair.at_pod, pair.pod_bulk) if at_laptop else (pair.at_laptop, pair.laptop_bulk)
    wire.held = True
    data = random.Random(8).randbytes(4 * MUCH)
    near = mux.open(TCP, data[:10])
    near.write(data[10:])
    near.write_eof()
    await until(lambda: bulk.received > 2 * MUCH)
    assert not opened
    wire.release()
    await until(lambda: bool(opened))
    heard = Recorder()
    opened[0].set_protocol(heard)
    await heard.eof.wait()
    assert heard.received == data


@pytest.mark.parametrize("payload", [b"", bytes(64 << 10)])
@in_loop
async def test_a_peer_that_never_opens_what_it_sends_for_is_given_up(payload: bytes) -> None:
    pair = MuxPair()
    pair.widen()
    await until(lambda: pair.laptop_link.up and pair.pod_link.up)
    lane = pair.pod.first_lane.beyond
    assert lane is not None
    frames = repeat(Frame(FrameType.DATA, 99, payload), MOST_EARLY // 256 + 1)
    with pytest.raises(ProtocolError):
        deque(map(lane.received, frames), maxlen=0)


@in_loop
async def test_a_reset_does_not_overtake_what_went_before_in_the_other_lane() -> None:
    pair = MuxPair(capacity=1 << 20)
    pair.widen()
    bulk, _, _, heard = await connected(pair)
    await until(lambda: pair.laptop_link.acked == pair.laptop_link.sent)
    pair.laptop_wire.held = True
    bulk.write(bytes(4 * MUCH))
    await until(lambda: bulk.get_write_buffer_size() == 0)
    bulk.abort()
    await until(lambda: pair.pod_bulk.received == pair.laptop_bulk.sent)
    assert not heard.lost.done()
    pair.laptop_wire.release()
    assert await heard.lost is not None
    assert len(heard.received) == 4 * MUCH
    await until(lambda: pair.laptop.spare.left == SPARE)


@in_loop
async def test_who_was_heard_out_and_says_little_is_in_the_first_lane_again() -> None:
    pair = MuxPair()
    pair.widen()
    near, _, _, heard = await connected(pair)
    near.write(bytes(4 * MUCH))
    await until(lambda: len(heard.received) == 4 * MUCH and pair.laptop_bulk.acked == pair.laptop_bulk.sent)
    before = pair.laptop_bulk.sent
    near.write(b"a word")
    await until(lambda: heard.received.endswith(b"a word"))
    assert pair.laptop_bulk.sent == before


@in_loop
async def test_what_a_receiver_grants_goes_where_the_bytes_came_so_that_acknowledgements_ride_on_it() -> None:
    pair = MuxPair(capacity=1 << 20)
    pair.widen()
    near, _, _, heard = await connected(pair)
    near.write(bytes(4 * MUCH))
    await until(lambda: len(heard.received) == 4 * MUCH)
    before = pair.pod_link.sent
    near.write(bytes(64 * MUCH))
    await until(lambda: len(heard.received) == 68 * MUCH)
    assert pair.pod_link.sent == before
    assert pair.pod_bulk.sent > 0


@in_virtual_time
async def test_who_takes_long_for_much_stays() -> None:
    pair = MuxPair()
    pair.widen()
    near, _, _, heard = await connected(pair)
    for _ in range(8):
        near.write(bytes(MUCH // 4))
        await asyncio.sleep(MUCH_SECONDS)
    await until(lambda: len(heard.received) == 2 * MUCH)
    assert pair.laptop_bulk.sent == 0


@pytest.mark.parametrize("sender", ["laptop", "pod"])
@in_loop
async def test_who_could_do_with_another_lane_is_told_at_either_end_of_the_bytes(sender: str) -> None:
    pair = MuxPair()
    asked: list[str] = []
    pair.laptop.on_much = lambda: asked.append("another")
    near, _, far, _ = await connected(pair)
    (near if sender == "laptop" else far).write(bytes(2 * MUCH))
    (near if sender == "laptop" else far).write(bytes(8 * MUCH))
    await until(lambda: bool(asked))
    pair.widen()
    asked.clear()
    near.write(bytes(8 * MUCH))
    await until(lambda: pair.laptop_bulk.acked > MUCH)
    assert not asked


@in_loop
async def test_both_lanes_end_with_the_mux() -> None:
    pair = MuxPair()
    pair.widen()
    pair.laptop.abort()
    await until(lambda: not (pair.pod_link.up or pair.pod_bulk.up or pair.laptop_bulk.up))
