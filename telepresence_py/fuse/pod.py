"""The pod's end of a volume: operations over whatever tunnel lives."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from typing import Protocol

from telepresence_sidecar.contract.remote_files import Request


class Operations(Protocol):
    """What is needed of a tunnel's FileOperations; see there."""

    def send(self, request: Request) -> asyncio.Future[bytes]: ...

    def is_lost(self) -> bool: ...

    def close(self) -> None: ...


Renew = Callable[[], Awaitable[Operations]]
"""New operations in place of lost ones, on another pod perhaps. OSError while there is no pod."""


class Pod:
    """`on_renewed` is called when what was known of the files may not hold any more, as they are another
    pod's now."""

    def __init__(self, operations: Operations, renew: Renew, on_renewed: Callable[[], None]) -> None:
        self.operations = operations
        self._renew = renew
        self._on_renewed = on_renewed
        self._renewing = asyncio.Lock()

    async def ask(self, request: Request) -> bytes:
        """The payload of the answer; OSError with the pod's errno, EIO when no pod is there."""
        if self.operations.is_lost():
            await self.renew()
        return await self.operations.send(request)

    async def renew(self) -> None:
        """Returns when operations are there that are not lost."""
        async with self._renewing:
            if not self.operations.is_lost():
                return
            try:
                self.operations = await self._renew()
            except OSError as error:
                raise OSError(errno.EIO, os.strerror(errno.EIO)) from error
            self._on_renewed()

    def close(self) -> None:
        self.operations.close()
