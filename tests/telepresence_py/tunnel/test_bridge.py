from __future__ import annotations

import asyncio
import os
import signal

import pytest
import trio
import trio.lowlevel

from telepresence_py.tunnel.bridge import CancelledInAsyncio, in_asyncio, run


async def after_a_tick(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def for_ever(entered: trio.Event, cleaned: list[str]) -> None:
    entered.set()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        cleaned.append("cleaned")


def test_the_result_of_trio_is_the_result_of_run() -> None:
    async def main() -> int:
        await trio.lowlevel.checkpoint()
        return 7

    assert run(main) == 7


def test_an_error_in_trio_comes_out_of_run() -> None:
    async def main() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        run(main)


def test_values_and_errors_cross_from_asyncio_to_trio() -> None:
    async def fail() -> None:
        raise ConnectionRefusedError("no")

    async def main() -> None:
        assert await in_asyncio(after_a_tick, 5) == 5
        with pytest.raises(ConnectionRefusedError, match="no"):
            await in_asyncio(fail)

    run(main)


def test_cancelling_in_trio_cancels_in_asyncio_and_waits_for_its_clean_up() -> None:
    cleaned: list[str] = []

    async def main() -> None:
        entered = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_asyncio, for_ever, entered, cleaned)
            await entered.wait()
            nursery.cancel_scope.cancel()
        assert cleaned == ["cleaned"]

    run(main)


def test_a_result_that_came_in_spite_of_the_cancellation_is_not_lost() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return "never"

    async def main() -> None:
        with trio.move_on_after(0.01):
            assert await in_asyncio(stubborn) == "done all the same"

    run(main)


def test_a_cancellation_from_within_asyncio_is_an_error_in_trio() -> None:
    async def cancels_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async def main() -> None:
        with pytest.raises(CancelledInAsyncio, match="cancels_itself"):
            await in_asyncio(cancels_itself)

    run(main)


def test_events_of_trio_may_be_set_from_asyncio_while_trio_sleeps() -> None:
    async def main() -> None:
        event = trio.Event()
        asyncio.get_running_loop().call_later(0.01, event.set)
        with trio.fail_after(5):
            await event.wait()

    run(main)


def test_what_still_runs_in_asyncio_is_cancelled_at_the_end() -> None:
    cleaned: list[str] = []

    async def main() -> None:
        entered = trio.Event()
        task = asyncio.get_running_loop().create_task(for_ever(entered, cleaned))
        await entered.wait()
        assert not task.done()

    run(main)
    assert cleaned == ["cleaned"]


def test_an_interrupt_arises_in_trio() -> None:
    ended: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert ended == ["cleaned up"]


def test_signals_reach_a_receiver_of_trio_while_nothing_else_happens() -> None:
    async def main() -> None:
        with trio.open_signal_receiver(signal.SIGUSR1) as received:
            asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
            with trio.fail_after(5):
                assert await anext(aiter(received)) == signal.SIGUSR1

    run(main)
