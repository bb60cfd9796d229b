"""Asyncio tests without a plugin: every one has a deadline, and nothing may fail unseen in the loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

DEADLINE = 20.0

left_open: list[asyncio.Transport] = []
"""Transports to be aborted at the end of the test, as nobody else owns them."""


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs the coroutine function `test` in a fresh loop; what the loop's exception handler hears fails the test."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        unseen: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
            try:
                async with asyncio.timeout(DEADLINE):
                    await test(*args, **kwargs)
            finally:
                for transport in left_open:
                    transport.abort()
                left_open.clear()
                for _ in range(5):  # their connection_lost
                    await asyncio.sleep(0)

        asyncio.run(main())
        assert not unseen, unseen

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Turns the loop until `condition` holds; the test's deadline bounds it."""
    while not condition():
        await asyncio.sleep(0.001)
