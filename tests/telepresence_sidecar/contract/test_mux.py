from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable

import pytest

from telepresence_sidecar.contract.credit import INITIAL_WINDOW, SPARE
from telepresence_sidecar.contract.frames import FrameType, Kind, Opening, encode
from telepresence_sidecar.contract.link import LinkGone
from telepresence_sidecar.contract.stream import MuxStream
from tests.fakes.loop import in_loop, until
from tests.fakes.sink import Recorder
from tests.fakes.wire import MuxPair

TCP = Opening(Kind.TCP, "orders", 80)


async def connected(pair: MuxPair) -> tuple[MuxStream, Recorder, MuxStream, Recorder]:
    near, far = pair.laptop.open(TCP), Recorder()
    await until(lambda: bool(pair.at_pod))
    stream = pair.at_pod.pop()
    stream.set_protocol(far)
    stream.accept()
    assert await near.opened == 0
    near_recorder = Recorder()
    near.set_protocol(near_recorder)
    return near, near_recorder, stream, far


async def write_all(stream: MuxStream, recorder: Recorder, data: bytes, dice: random.Random) -> None:
    position = 0
    while position < len(data):
        step = dice.choice([1, 100, 5000, 100_000])
        stream.write(data[position : position + step])
        position += step
        await until(lambda: not recorder.paused)
    stream.write_eof()


@pytest.mark.parametrize("seed", range(12))
@in_loop
async def test_every_stream_carries_its_bytes_in_order_under_any_schedule(seed: int) -> None:
    dice = random.Random(seed)
    pair = MuxPair(seed, capacity=dice.choice([1000, 40_000, 200_000]))
    ends = [await connected(pair) for _ in range(6)]
    up = [dice.randbytes(dice.choice([0, 10, 5000, 700_000])) for _ in ends]
    down = [dice.randbytes(dice.choice([0, 10, 5000, 700_000])) for _ in ends]
    writers = [
        task
        for (near, near_recorder, far, far_recorder), sent, answer in zip(ends, up, down, strict=True)
        for task in (write_all(near, near_recorder, sent, dice), write_all(far, far_recorder, answer, dice))
    ]
    await asyncio.gather(*writers)
    for near, near_recorder, far, far_recorder in ends:
        await near_recorder.eof.wait()
        await far_recorder.eof.wait()
        near.close()
        far.close()
        assert await near_recorder.lost is None
        assert await far_recorder.lost is None
    assert [far_recorder.received for *_, far_recorder in ends] == up
    assert [near_recorder.received for _, near_recorder, *_ in ends] == down


@in_loop
async def test_first_bytes_travel_with_the_open() -> None:
    pair = MuxPair()
    pair.laptop.open(TCP, b"hello")
    await until(lambda: bool(pair.at_pod))
    recorder = Recorder()
    pair.at_pod[0].set_protocol(recorder)
    await until(lambda: recorder.received == b"hello")
    assert pair.pod_link.received == 8 + 6 + len("orders") + len("hello")


@in_loop
async def test_writes_do_not_wait_for_the_other_end_to_accept() -> None:
    pair = MuxPair()
    near = pair.laptop.open(TCP)
    near.write(b"early")
    near.write_eof()
    await until(lambda: bool(pair.at_pod))
    recorder = Recorder()
    pair.at_pod[0].set_protocol(recorder)
    await recorder.eof.wait()
    assert recorder.received == b"early"
    assert not near.opened.done()


@in_loop
async def test_a_refusal_tells_its_errno() -> None:
    pair = MuxPair()
    near, recorder = pair.laptop.open(TCP), Recorder()
    near.set_protocol(recorder)
    await until(lambda: bool(pair.at_pod))
    pair.at_pod[0].refuse(errno.ECONNREFUSED)
    assert await near.opened == errno.ECONNREFUSED
    reason = await recorder.lost
    assert isinstance(reason, OSError)
    assert reason.errno == errno.ECONNREFUSED


@in_loop
async def test_half_close_leaves_the_other_direction_open() -> None:
    near, near_recorder, far, far_recorder = await connected(MuxPair())
    near.write(b"question")
    near.write_eof()
    await far_recorder.eof.wait()
    far.write(b"answer")
    await until(lambda: near_recorder.received == b"answer")
    far.close()
    await near_recorder.eof.wait()
    near.close()
    assert await near_recorder.lost is None
    assert await far_recorder.lost is None


@in_loop
async def test_a_reset_reaches_the_peer_with_its_errno_and_drops_what_waits() -> None:
    pair = MuxPair()
    near, near_recorder, far, far_recorder = await connected(pair)
    near.abort(errno.ETIMEDOUT)
    reason = await far_recorder.lost
    assert isinstance(reason, OSError)
    assert reason.errno == errno.ETIMEDOUT
    assert await near_recorder.lost is None
    far.write(b"into the void")
    assert far.get_write_buffer_size() == 0


@in_loop
async def test_bytes_after_close_are_answered_with_a_reset() -> None:
    near, near_recorder, far, far_recorder = await connected(MuxPair())
    near.write(b"last words")
    near.close()
    await far_recorder.eof.wait()
    assert far_recorder.received == b"last words"
    far.write(b"too late")
    assert isinstance(await far_recorder.lost, OSError)
    assert await near_recorder.lost is None


@in_loop
async def test_a_reader_that_stalls_stops_its_own_stream_alone() -> None:
    pair = MuxPair()
    stalled, stalled_recorder, far, far_recorder = await connected(pair)
    far.pause_reading()
    stalled.write(bytes(SPARE + 2 * INITIAL_WINDOW))
    await until(lambda: pair.laptop.spare.left == 0)
    other, _, _, other_recorder = await connected(pair)
    other.write(bytes(3 * INITIAL_WINDOW))
    await until(lambda: other_recorder.size == 3 * INITIAL_WINDOW)
    assert stalled.get_write_buffer_size() == INITIAL_WINDOW
    assert far_recorder.size == 0
    far.resume_reading()
    await until(lambda: far_recorder.size == SPARE + 2 * INITIAL_WINDOW)
    assert not stalled_recorder.paused
    assert pair.laptop.spare.left == SPARE


Ending = Callable[[MuxStream, MuxStream], None]


def _read_on(near: MuxStream, far: MuxStream) -> None:
    far.resume_reading()


def _give_up(near: MuxStream, far: MuxStream) -> None:
    near.abort()


def _be_refused(near: MuxStream, far: MuxStream) -> None:
    far.abort()


def _close_after_their_eof(near: MuxStream, far: MuxStream) -> None:
    far.write_eof()
    near.close()


def _be_closed(near: MuxStream, far: MuxStream) -> None:
    near.write_eof()
    far.close()


@pytest.mark.parametrize("end", [_read_on, _give_up, _be_refused, _close_after_their_eof, _be_closed])
@in_loop
async def test_what_a_transfer_borrowed_is_there_for_others_when_the_reader_has_let_go_of_it(
    end: Ending,
) -> None:
    pair = MuxPair()
    near, _, far, far_recorder = await connected(pair)
    far.pause_reading()
    near.write(bytes(INITIAL_WINDOW + SPARE // 4))
    await until(lambda: pair.pod_link.received > INITIAL_WINDOW + SPARE // 4)
    assert pair.laptop.spare.left == SPARE - SPARE // 4
    end(near, far)
    if end is _close_after_their_eof:
        for _ in range(100):
            await asyncio.sleep(0)
        assert pair.laptop.spare.left == SPARE - SPARE // 4
        far.resume_reading()
        await far_recorder.eof.wait()
        far.close()
    await until(lambda: pair.laptop.spare.left == SPARE)


@in_loop
async def test_a_small_write_overtakes_a_bulk_transfer() -> None:
    pair = MuxPair()
    bulk, _, _, bulk_recorder = await connected(pair)
    small, _, small_far, _ = await connected(pair)
    bulk_before: list[int] = []

    class Note(Recorder):
        def data_received(self, data: bytes) -> None:
            bulk_before.append(bulk_recorder.size)

    small_far.set_protocol(Note())
    pair.laptop_wire.held = True
    bulk.write(bytes(INITIAL_WINDOW))
    await until(lambda: pair.laptop_wire.room() <= 0)
    small.write(b"key")
    pair.laptop_wire.release()
    await until(lambda: bulk_recorder.size == INITIAL_WINDOW)
    assert bulk_before[0] < INITIAL_WINDOW - 32_000


@in_loop
async def test_a_full_wire_is_not_written_to() -> None:
    pair = MuxPair(capacity=10_000)
    near, *_, recorder = await connected(pair)
    pair.laptop_wire.held = True
    near.write(bytes(200_000))
    await until(lambda: pair.laptop_wire.room() <= 0)
    assert pair.laptop_wire.room() > -70_000
    assert near.get_write_buffer_size() > 100_000
    pair.laptop_wire.release()
    await until(lambda: recorder.size == 200_000)


@in_loop
async def test_datagrams_are_neither_merged_nor_split() -> None:
    pair = MuxPair()
    flow = pair.laptop.open(Opening(Kind.UDP, "10.0.0.1", 53))
    datagrams = [b"", b"a", bytes(65507), b"bc"]
    for datagram in datagrams:
        flow.write(datagram)
    await until(lambda: bool(pair.at_pod))
    recorder = Recorder()
    pair.at_pod[0].set_protocol(recorder)
    await until(lambda: len(recorder.pieces) == 4)
    assert recorder.pieces == datagrams


@in_loop
async def test_datagrams_beyond_what_may_wait_are_dropped_and_the_flow_lives_on() -> None:
    pair = MuxPair()
    pair.laptop_wire.held = True
    flow = pair.laptop.open(Opening(Kind.UDP, "10.0.0.1", 53))
    for _ in range(100):
        flow.write(bytes(60_000))
    assert flow.get_write_buffer_size() < 400_000
    pair.laptop_wire.release()
    await until(lambda: bool(pair.at_pod))
    recorder = Recorder()
    pair.at_pod[0].set_protocol(recorder)
    await until(lambda: flow.get_write_buffer_size() == 0)
    flow.write(b"later")
    await until(lambda: b"later" in recorder.pieces)


@in_loop
async def test_messages_keep_their_order_with_opens() -> None:
    pair = MuxPair()
    order: list[object] = []
    pair.on_open_at_pod = lambda stream: order.append((stream.number, list(pair.pod_heard)))
    pair.laptop.send_message({"n": 1})
    pair.laptop.open(TCP)
    pair.laptop.send_message({"n": 2})
    await until(lambda: len(pair.pod_heard) == 2)
    assert order == [(1, [{"n": 1}])]


@in_loop
async def test_a_lost_wire_ends_every_stream_with_a_reset() -> None:
    pair = MuxPair()
    _, near_recorder, _, far_recorder = await connected(pair)
    unanswered = pair.laptop.open(TCP)
    pair.laptop.wire_lost(ConnectionResetError("cut"))
    assert await unanswered.opened == errno.ECONNRESET
    for recorder in (near_recorder, far_recorder):
        assert isinstance(await recorder.lost, ConnectionResetError)
    assert isinstance(pair.laptop.lost.result(), ConnectionResetError)
    assert await pair.laptop.open(TCP).opened == errno.ECONNRESET


@in_loop
async def test_who_comes_after_the_end_is_told_once() -> None:
    pair = MuxPair()
    pair.laptop.open(TCP)
    await until(lambda: bool(pair.at_pod))
    pair.pod.abort()
    recorder = Recorder()
    pair.at_pod[0].set_protocol(recorder)
    assert isinstance(await recorder.lost, ConnectionResetError)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        encode(FrameType.OPEN, 2, TCP.encode()),
        encode(FrameType.OPEN, 1, b"\x63"),
        encode(FrameType.MESSAGE, 0, b"[]"),
    ],
)
@in_loop
async def test_what_is_not_the_protocol_ends_the_mux(garbage: bytes) -> None:
    pair = MuxPair()
    pair.pod_wire.leg.feed(garbage)
    assert isinstance(pair.pod.lost.result(), ValueError)
    assert isinstance(await pair.laptop.lost, LinkGone)


@in_loop
async def test_the_round_trip_is_measured() -> None:
    pair = MuxPair()
    await until(lambda: pair.laptop.first_lane.round_trip < 0.05)
