"""One file that a program of the child has open: reading ahead, writing behind.

Reading: who reads on where he stopped is read ahead for, twice as much each time. Writing: a write is done
for the program once it is on its way; whether the pod could do it is told at the next fsync or close, as with
NFS.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from dataclasses import dataclass

from telepresence_py.fuse.nodes import Node
from telepresence_py.fuse.pod import Operations
from telepresence_sidecar.contract.remote_files import Attributes, Op, Request

PIECE = 256 << 10
"""Bytes of one READ ahead."""

MOST_AHEAD = 8 << 20
"""Bytes that are asked for before they are wanted."""

MOST_BEHIND = 8 << 20
"""Bytes on their way; who writes faster waits."""

AHEAD_SECONDS = 1.0
"""What was read ahead longer ago is read again."""


@dataclass
class _Ahead:
    offset: int
    size: int
    asked_at: float
    data: asyncio.Future[bytes]


class OpenFile:
    """`handle` is the pod's number for it, 0 while it is read from `contents` alone. Ends with the operations
    with which it was opened."""

    def __init__(self, node: Node, flags: int, operations: Operations) -> None:
        self.node = node
        self.flags = flags
        self.operations = operations
        self.handle = 0
        self.contents: bytes | None = None
        self.contents_stamp = (0, 0, 0)
        self.contents_version = 0
        self._loop = asyncio.get_running_loop()
        self._ahead: deque[_Ahead] = deque()
        self._ahead_version = 0
        self._window = 0
        self._next_read = 0
        self._behind = 0
        self._room = asyncio.Event()
        self._room.set()
        self._error = 0
        self._written = False

    def holds(self) -> bool:
        """Whether `contents` are still the file's."""
        node = self.node
        return (
            self.contents is not None
            and self.contents_version == node.version
            and (self.contents_stamp == node.stamp or node.parent is None)
        )

    def give(self, contents: bytes) -> None:
        """Read from these, as long as nothing changes."""
        self.contents = contents
        self.contents_stamp, self.contents_version = self.node.stamp, self.node.version

    # --- reading ---------------------------------------------------------------------------------------

    async def read(self, offset: int, size: int) -> bytes:
        """OSError with the pod's errno. Fewer bytes only at the end of the file."""
        if self._is_on_its_way(offset):
            self._window = min(max(2 * self._window, 2 * PIECE), MOST_AHEAD)
        else:
            self._window = 0
            self._drop_ahead()
        self._next_read = offset + size
        if not self._window:
            return await self._ask(offset, size)
        self._read_ahead(offset, offset + size + self._window)
        return await self._from_ahead(offset, size)

    def _is_on_its_way(self, offset: int) -> bool:
        """The kernel may ask for neighbouring pieces in any order."""
        if self._ahead_version != self.node.version:
            self._drop_ahead()
            self._ahead_version = self.node.version
        now = self._loop.time()
        if self._ahead and self._ahead[0].data.done() and now - self._ahead[0].asked_at > AHEAD_SECONDS:
            self._drop_ahead()
        if self._ahead:
            return self._ahead[0].offset <= offset <= self._ahead[-1].offset + self._ahead[-1].size
        return 0 < offset == self._next_read

    def _read_ahead(self, start: int, end: int) -> None:
        while len(self._ahead) > 2 and self._ahead[2].offset + self._ahead[2].size <= start:
            self._ahead.popleft()  # two stay, for who comes late
        position = self._ahead[-1].offset + self._ahead[-1].size if self._ahead else start
        while position < min(end, self.node.attributes.size) or position == start:
            asked = self.operations.send(Request(Op.READ, handle=self.handle, offset=position, size=PIECE))
            asked.add_done_callback(_seen)
            self._ahead.append(_Ahead(position, PIECE, self._loop.time(), asked))
            position += PIECE

    async def _from_ahead(self, offset: int, size: int) -> bytes:
        end = offset + size
        parts = []
        for piece in [one for one in self._ahead if one.offset < end and one.offset + one.size > offset]:
            data = await asyncio.shield(piece.data)
            parts.append(data[max(0, offset - piece.offset) : end - piece.offset])
            offset = max(offset, piece.offset + len(data))
            if len(data) < piece.size:
                break
        found = b"".join(parts)
        if len(found) < size and offset < end:  # the end of the file, or it has grown since
            found += await self._ask(offset, end - offset)
        return found

    async def _ask(self, offset: int, size: int) -> bytes:
        return await self.operations.send(Request(Op.READ, handle=self.handle, offset=offset, size=size))

    def _drop_ahead(self) -> None:
        self._ahead.clear()

    # --- writing ---------------------------------------------------------------------------------------

    async def write(self, offset: int, data: bytes) -> None:
        """Returns when it is on its way, and not too much is. OSError when an earlier one failed."""
        await self._room.wait()
        self._raise()
        self._written = True
        self._behind += len(data)
        if self._behind > MOST_BEHIND:
            self._room.clear()
        sent = self.operations.send(Request(Op.WRITE, handle=self.handle, offset=offset, data=data))
        sent.add_done_callback(lambda done: self._wrote(len(data), done))

    def _wrote(self, size: int, done: asyncio.Future[bytes]) -> None:
        self._behind -= size
        if self._behind <= MOST_BEHIND // 2:
            self._room.set()
        error = None if done.cancelled() else done.exception()
        if isinstance(error, OSError):
            self._error = error.errno or errno.EIO

    async def sync(self, to_disk: bool = False, data_only: bool = False) -> Attributes | None:
        """Returns when all writes are in the pod, or on its disk; None where there were none. OSError when
        one failed, told once."""
        if not self.handle or not (self._written or to_disk):
            return None
        request = Request(Op.STAT, handle=self.handle)
        if to_disk:
            request = Request(Op.SYNC, handle=self.handle, flags=int(data_only))
        payload = await self.operations.send(request)  # answered after all that was sent before
        self._raise()
        self._written = False
        return Attributes.decode(payload)

    def _raise(self) -> None:
        error, self._error = self._error, 0
        if error:
            raise OSError(error, os.strerror(error))

    def close(self) -> None:
        if self.handle and not self.operations.is_lost():
            self.operations.send(Request(Op.CLOSE, handle=self.handle)).add_done_callback(_seen)
        self.handle = 0


def _seen(done: asyncio.Future[bytes]) -> None:
    """Whoever wants the result is told of the error; nobody else need be."""
    if not done.cancelled():
        done.exception()
