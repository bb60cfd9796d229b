"""One volume of the pod as the kernel asks for it: what is open. Names and attributes are in `names`.

A small file is read as a whole when it is opened, and those near it with it; it stays here, and is not opened
in the pod, until somebody writes it. Directories are listed when they are opened.
"""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from dataclasses import dataclass

from telepresence_py.fuse.codec import (
    FSYNC_DATA_ONLY,
    KEEP_CACHE,
    NO_ENTRY,
    NO_FLUSH,
    Call,
    Owner,
    decode_create,
    decode_handle,
    decode_pair,
    decode_read,
    decode_write,
    encode_dirent,
    encode_opened,
    encode_written,
)
from telepresence_py.fuse.names import Names, is_regular
from telepresence_py.fuse.nodes import NEVER, Node, Told, is_believed
from telepresence_py.fuse.open_file import OpenFile
from telepresence_py.fuse.pod import Operations, Renew
from telepresence_sidecar.contract.remote_files import (
    Attributes,
    Entry,
    Op,
    Request,
    decode_contents,
)

SMALL = 64 << 10
"""The pod sends no more of a file at once; keep it the sidecar's SMALL."""

FIRST_NEAR, MOST_NEAR, GROWTH = 64 << 10, 4 << 20, 8
"""Bytes of other files that come with one; more each time within a moment."""

NEAR_SECONDS = 2.0


@dataclass
class _OpenDirectory:
    node: Node
    entries: list[tuple[bytes, Node]]


class Volume(Names):
    """A volume that is mounted. `close` when the mount is gone, or shall be."""

    def __init__(self, operations: Operations, renew: Renew, owner: Owner) -> None:
        super().__init__(operations, renew, owner)
        self._files: dict[int, OpenFile] = {}
        self._directories: dict[int, _OpenDirectory] = {}
        self._next_handle = 1
        self._near = FIRST_NEAR
        self._near_at = NEVER
        self._fetching: asyncio.Lock = asyncio.Lock()

    def close(self) -> None:
        self.pod.close()

    # --- files -----------------------------------------------------------------------------------------

    async def open(self, call: Call) -> bytes:
        node, flags = self.node(call.node), decode_pair(call.body)[0]
        reads_only = flags & os.O_ACCMODE == os.O_RDONLY and not flags & os.O_TRUNC
        if reads_only and is_regular(node) and self.nodes.path(node) is not None:
            with suppress(FileNotFoundError):
                await self.refresh(node)
            if node.attributes.size <= SMALL:
                await self._fetch(node)
        number, file = self._new_file(node, flags)
        if reads_only and _has_contents(node):
            assert node.contents is not None
            file.give(node.contents)
        else:
            try:
                await self._open_in_pod(file, flags)
            except BaseException:
                self._forget_file(number)
                raise
        kept = KEEP_CACHE if node.cached_stamp == node.stamp else 0
        node.cached_stamp = node.stamp
        return encode_opened(number, kept | (NO_FLUSH if reads_only else 0))

    async def create(self, call: Call) -> bytes:
        flags, mode, name = decode_create(call.body)
        parent = self.node(call.node)
        path = self.path_in(parent, name)
        if self.pod.operations.is_lost():
            await self.pod.renew()
        operations, asked = self.pod.operations, self.nodes.changes
        number = self._number()
        request = Request(Op.OPEN, path, number, flags=flags | os.O_CREAT, mode=mode)
        attributes = Attributes.decode(await operations.send(request))
        node = self.made(parent, Entry(name, attributes), asked)
        self._files[number] = file = OpenFile(node, flags, operations)
        file.handle = number
        node.handles.add(number)
        if flags & os.O_TRUNC:
            self.nodes.changed(node)
            self.nodes.set_attributes(node, attributes, Told(self._clock(), self.nodes.changes))
        node.cached_stamp = node.stamp
        return self.entry(node) + encode_opened(number)

    async def read(self, call: Call) -> bytes:
        piece = decode_read(call.body)
        file = self._file(piece.handle)
        if file.contents is not None:
            if file.holds() or not await self._reopened(file):
                return file.contents[piece.offset : piece.offset + piece.size]
            file.contents = None
        return await file.read(piece.offset, piece.size)

    async def write(self, call: Call) -> bytes:
        piece = decode_write(call.body)
        file = self._file(piece.handle)
        await file.write(piece.offset, piece.data)
        self.nodes.changed(file.node)
        return encode_written(len(piece.data))

    async def flush(self, call: Call) -> bytes:
        await self._sync(self._file(decode_handle(call.body)))
        return b""

    async def fsync(self, call: Call) -> bytes:
        flags = decode_pair(call.body[8:])[0]
        await self._sync(self._file(decode_handle(call.body)), True, bool(flags & FSYNC_DATA_ONLY))
        return b""

    async def release(self, call: Call) -> bytes:
        self._forget_file(decode_handle(call.body))
        return b""

    async def _sync(self, file: OpenFile, to_disk: bool = False, data_only: bool = False) -> None:
        asked = self.nodes.changes
        attributes = await file.sync(to_disk, data_only)
        if attributes is not None:
            self.nodes.set_attributes(file.node, attributes, Told(self._clock(), asked))
            file.node.cached_stamp = file.node.stamp  # by ourselves, through the kernel's cache

    # --- directories -----------------------------------------------------------------------------------

    async def opendir(self, call: Call) -> bytes:
        node = self.node(call.node)
        in_doubt = (child.known_at == NEVER for child in node.children.values())
        if not is_believed(node.listed_at, self._clock()) or any(in_doubt):
            await self.list(node)
        number = self._number()
        self._directories[number] = _OpenDirectory(node, sorted(node.children.items()))
        return encode_opened(number)

    async def readdirplus(self, call: Call) -> bytes:
        piece = decode_read(call.body)
        directory = self._directories[piece.handle]
        out: list[bytes] = []
        size = 0
        for index in range(piece.offset, len(directory.entries) + 2):
            known: Node | None = None
            if index < 2:
                name, node = (b".", b"..")[index], directory.node
            else:
                name, node = directory.entries[index - 2]
                if node.parent is not directory.node or node.name != name:  # gone meanwhile
                    continue
                known = node if node.known_at != NEVER else None
            dirent = encode_dirent(name, node.attributes.inode, node.attributes.mode, index + 1)
            if size + len(NO_ENTRY) + len(dirent) > piece.size:
                break
            out += (NO_ENTRY if known is None else self.entry(known), dirent)
            size += len(NO_ENTRY) + len(dirent)
        return b"".join(out)

    async def releasedir(self, call: Call) -> bytes:
        self._directories.pop(decode_handle(call.body), None)
        return b""

    async def fsyncdir(self, call: Call) -> bytes:
        await self.pod.ask(Request(Op.SYNC, self.path(self.node(call.node))))
        return b""

    # --- open files ------------------------------------------------------------------------------------

    def open_handle(self, node: Node) -> int:
        files = (self._files[number] for number in node.handles if number in self._files)
        mine = [file for file in files if file.handle and file.operations is self.pod.operations]
        mine.sort(
            key=lambda file: file.flags & os.O_ACCMODE == os.O_RDONLY
        )  # to be cut one must be for writing
        return mine[0].handle if mine else 0

    def _number(self) -> int:
        number, self._next_handle = self._next_handle, self._next_handle % 0xFFFFFFFF + 1
        return number

    def _new_file(self, node: Node, flags: int) -> tuple[int, OpenFile]:
        number = self._number()
        self._files[number] = file = OpenFile(node, flags, self.pod.operations)
        node.handles.add(number)
        return number, file

    def _file(self, number: int) -> OpenFile:
        try:
            return self._files[number]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def _forget_file(self, number: int) -> None:
        file = self._files.pop(number, None)
        if file is not None:
            file.node.handles.discard(number)
            file.close()

    async def _open_in_pod(self, file: OpenFile, flags: int) -> None:
        if self.pod.operations.is_lost():
            await self.pod.renew()
        file.operations = operations = self.pod.operations
        handle, asked = self._number(), self.nodes.changes
        payload = await operations.send(Request(Op.OPEN, self.path(file.node), handle, flags=flags))
        file.handle = handle
        if flags & os.O_TRUNC:
            self.nodes.changed(file.node)
            asked = self.nodes.changes
        self.nodes.set_attributes(file.node, Attributes.decode(payload), Told(self._clock(), asked))

    async def _reopened(self, file: OpenFile) -> bool:
        """In the pod, since it was changed after it was opened here. False where it is gone: then what was
        there is what there is."""
        async with self._fetching:
            if not file.handle:
                try:
                    await self._open_in_pod(file, os.O_RDONLY)
                except OSError:
                    return False
        return True

    async def _fetch(self, node: Node) -> None:
        """Have its contents, and of those near it, in one round trip; by one at a time, as the next may be
        near."""
        if _has_contents(node):
            return
        async with self._fetching:
            if _has_contents(node):
                return
            now = self._clock()
            self._near = (
                min(self._near * GROWTH, MOST_NEAR) if now - self._near_at < NEAR_SECONDS else FIRST_NEAR
            )
            asked = self.nodes.changes
            payload = await self.pod.ask(Request(Op.CONTENTS, self.path(node), size=self._near))
            told = Told(self._clock(), asked)
            self._near_at = told.now
            for contents in decode_contents(payload):
                self.nodes.put_contents(contents, told)


def _has_contents(node: Node) -> bool:
    return node.contents is not None and node.contents_stamp == node.stamp
