"""trio and asyncio in one thread: trio decides and owns lifetimes, asyncio moves bytes.

trio runs as a guest of the asyncio loop. Functions that do not wait may be called from either world to the
other (`trio.Event.set` from a protocol's callback, `Tunnel.open` from a trio task); `in_asyncio` is for
those that wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import trio
from outcome import Outcome, Value

R = TypeVar("R")


class CancelledInAsyncio(Exception):
    """The coroutine was cancelled by somebody in the asyncio world, not by the trio task that awaits it."""


def run(trio_main: Callable[[], Awaitable[R]]) -> R:
    """Runs `trio_main()` under trio within a fresh asyncio loop, and returns its result or raises its error.

    What still runs in asyncio when trio ends is cancelled. SIGINT is trio's business: KeyboardInterrupt
    arises in trio as under `trio.run`.
    """
    with asyncio.Runner() as runner:  # not runner.run(): that would take SIGINT away from trio
        loop = runner.get_loop()
        return loop.run_until_complete(_host(trio_main, loop)).unwrap()


async def _host(trio_main: Callable[[], Awaitable[R]], loop: asyncio.AbstractEventLoop) -> Outcome[R]:
    ended: asyncio.Future[Outcome[R]] = loop.create_future()
    trio.lowlevel.start_guest_run(
        trio_main,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=ended.set_result,
        host_uses_signal_set_wakeup_fd=False,
    )
    return await ended


async def in_asyncio(fn: Callable[..., Coroutine[Any, Any, R]], *args: object) -> R:
    """Runs `fn(*args)`, an asyncio coroutine function, and returns its result; called from a trio task.

    Its exceptions come through. When the trio task is cancelled so is the coroutine, and its clean-up is
    waited for; if it then ends with a result after all, that is returned.
    """
    task = asyncio.get_running_loop().create_task(fn(*args))
    waiting = trio.lowlevel.current_task()
    raise_cancelled: Callable[[], NoReturn] | None = None

    def ended(_: asyncio.Task[R]) -> None:
        trio.lowlevel.reschedule(waiting, Value(None))

    def abort(raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        nonlocal raise_cancelled
        raise_cancelled = raise_cancel
        task.cancel()
        return trio.lowlevel.Abort.FAILED

    task.add_done_callback(ended)
    await trio.lowlevel.wait_task_rescheduled(abort)
    if not task.cancelled():
        return task.result()
    if raise_cancelled is not None:
        raise_cancelled()
    raise CancelledInAsyncio(getattr(fn, "__qualname__", repr(fn)))
