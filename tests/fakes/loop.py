"""Asyncio tests without a plugin: every one has a deadline, and nothing may fail unseen in the loop."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

DEADLINE = 20.0

at_end: list[Callable[[], None]] = []
"""Called at the end of the test, for what nobody else owns."""


async def settle() -> None:
    """Closes what nobody else does, and lets the loop hear of it."""
    for close in at_end:
        close()
    at_end.clear()
    for _ in range(5):
        await asyncio.sleep(0)


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs the coroutine function `test` in a fresh loop; what the loop's exception handler hears fails
    it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        unseen: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
            try:
                async with asyncio.timeout(DEADLINE):
                    await test(*args, **kwargs)
            finally:
                await settle()

        asyncio.run(main())
        assert not unseen, unseen

    return run


class _Impatient(selectors.DefaultSelector):
    """Waits for nothing: instead of that, the time of its loop moves on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class _VirtualTime(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.impatient = _Impatient()
        super().__init__(self.impatient)

    def time(self) -> float:
        return self.impatient.now


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """For what happens in memory alone: timers fire in order, at once, however busy the machine is."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=_VirtualTime) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Turns the loop until `condition` holds; the test's deadline bounds it."""
    while not condition():  # noqa: ASYNC110 - any state may be asked for, so nobody can announce it
        await asyncio.sleep(0.001)
