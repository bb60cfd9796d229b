"""One volume of the pod as the kernel asks for it: names and attributes. What is open is in `contents`.

Each method named like an opcode answers that call: payload, or OSError. It waits for the pod only for what is
not known, or was told too long ago (`nodes.BELIEVED_SECONDS`); then much is asked for at a time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat

from telepresence_py.fuse.codec import (
    FATTR_ATIME,
    FATTR_ATIME_NOW,
    FATTR_GID,
    FATTR_MODE,
    FATTR_MTIME,
    FATTR_MTIME_NOW,
    FATTR_SIZE,
    FATTR_UID,
    Call,
    Change,
    Owner,
    decode_forgets,
    decode_link,
    decode_mkdir,
    decode_mknod,
    decode_pair,
    decode_rename,
    decode_setattr,
    encode_entry,
    encode_space,
    encode_valid_attributes,
    name_of,
    names_of,
)
from telepresence_py.fuse.nodes import BELIEVED_SECONDS, NEVER, Node, Nodes, Told, is_believed
from telepresence_py.fuse.pod import Operations, Pod, Renew
from telepresence_sidecar.contract.remote_files import (
    SET_ACCESSED,
    SET_ACCESSED_NOW,
    SET_CHANGED,
    SET_CHANGED_NOW,
    SET_LENGTH,
    SET_MODE,
    Attributes,
    Entry,
    Op,
    Request,
    Space,
    decode_listings,
)

ENTRIES = 4000
"""So many names are listed at a time, but for those of one directory."""

FEW = 100
"""A directory of so few names is asked for as a whole, rather than one name of it."""

_SET = {
    FATTR_MODE: SET_MODE,
    FATTR_SIZE: SET_LENGTH,
    FATTR_MTIME: SET_CHANGED,
    FATTR_ATIME: SET_ACCESSED,
    FATTR_MTIME_NOW: SET_CHANGED_NOW,
    FATTR_ATIME_NOW: SET_ACCESSED_NOW,
}


class Names:
    """The part of a volume that is about names. Lives in one asyncio loop."""

    def __init__(self, operations: Operations, renew: Renew, owner: Owner) -> None:
        self.nodes = Nodes()
        self.pod = Pod(operations, renew, self.nodes.doubt_all)
        self.owner = owner
        self._clock = asyncio.get_running_loop().time
        self._listing: dict[int, asyncio.Future[None]] = {}

    # --- calls -----------------------------------------------------------------------------------------

    async def lookup(self, call: Call) -> bytes:
        return self.entry(await self.child(self.node(call.node), name_of(call.body)))

    async def getattr(self, call: Call) -> bytes:
        node = self.node(call.node)
        await self.refresh(node)
        return self.valid(node)

    async def setattr(self, call: Call) -> bytes:
        node, change = self.node(call.node), decode_setattr(call.body)
        owner = self.owner
        if (change.valid & FATTR_UID and change.user != owner.user) or (
            change.valid & FATTR_GID and change.group != owner.group
        ):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        flags = sum(ours for theirs, ours in _SET.items() if change.valid & theirs)
        if flags & SET_CHANGED_NOW:
            flags &= ~SET_CHANGED
        if flags & SET_ACCESSED_NOW:
            flags &= ~SET_ACCESSED
        if not flags:
            await self.refresh(node)
            return self.valid(node)
        if flags & SET_LENGTH:
            self.nodes.changed(node)
        await self._set(node, change, flags)
        return self.valid(node)

    async def _set(self, node: Node, change: Change, flags: int) -> None:
        path = self.nodes.path(node)
        handle = self.open_handle(node) if path is None or flags & SET_LENGTH else 0
        if path is None and not handle:
            raise _stale()
        request = Request(
            Op.SET,
            b"" if handle else path or b"",
            handle,
            flags=flags,
            mode=change.mode,
            offset=change.size,
            changed=change.modified,
            accessed=change.accessed,
        )
        asked = self.nodes.changes
        payload = await self.pod.ask(request)
        self.nodes.set_attributes(node, Attributes.decode(payload), Told(self._clock(), asked))
        self.nodes.doubt_other_names(node)

    async def readlink(self, call: Call) -> bytes:
        node = self.node(call.node)
        if not node.target:
            await self.list(node.parent or self.nodes.top)
        return node.target

    async def symlink(self, call: Call) -> bytes:
        name, target = names_of(call.body)
        return await self._make(call, name, Op.MAKE_SYMLINK, other=target)

    async def mkdir(self, call: Call) -> bytes:
        mode, name = decode_mkdir(call.body)
        return await self._make(call, name, Op.MAKE_DIRECTORY, mode=mode)

    async def mknod(self, call: Call) -> bytes:
        mode, name = decode_mknod(call.body)
        return await self._make(call, name, Op.MAKE_NODE, mode=mode)

    async def link(self, call: Call) -> bytes:
        number, name = decode_link(call.body)
        original = self.node(number)
        answer = await self._make(call, name, Op.MAKE_LINK, other=self.path(original))
        original.known_at = NEVER  # one link more
        return answer

    async def _make(self, call: Call, name: bytes, op: Op, mode: int = 0, other: bytes = b"") -> bytes:
        parent = self.node(call.node)
        asked = self.nodes.changes
        payload = await self.pod.ask(Request(op, self.path_in(parent, name), other=other, mode=mode))
        target = other if op is Op.MAKE_SYMLINK else b""
        return self.entry(self.made(parent, Entry(name, Attributes.decode(payload), target), asked))

    async def unlink(self, call: Call) -> bytes:
        return await self._remove(call, Op.REMOVE)

    async def rmdir(self, call: Call) -> bytes:
        return await self._remove(call, Op.REMOVE_DIRECTORY)

    async def _remove(self, call: Call, op: Op) -> bytes:
        parent, name = self.node(call.node), name_of(call.body)
        await self.pod.ask(Request(op, self.path_in(parent, name)))
        if (child := parent.children.get(name)) is not None:
            self.nodes.doubt_other_names(child)
            self.nodes.drop(child)
            links = max(0, child.attributes.links - 1)
            child.attributes = child.attributes._replace(links=links if op is Op.REMOVE else 0)
        parent.known_at = NEVER
        return b""

    async def rename(self, call: Call) -> bytes:
        number, flags, old, new = decode_rename(call.body, call.opcode)
        if flags:  # of renameat2(2); programs then do without
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        parent, directory = self.node(call.node), self.node(number)
        request = Request(Op.RENAME, self.path_in(parent, old), other=self.path_in(directory, new))
        await self.pod.ask(request)
        if (child := parent.children.get(old)) is not None:
            self.nodes.move(child, directory, new)
            child.known_at = NEVER
        else:
            directory.listed_at = NEVER
        parent.known_at = directory.known_at = NEVER
        return b""

    async def access(self, call: Call) -> bytes:
        node, mask = self.node(call.node), decode_pair(call.body)[0]
        path = self.nodes.path(node)
        if mask and path is not None:
            await self.pod.ask(Request(Op.MAY, path, mode=mask))
        return b""

    async def statfs(self, call: Call) -> bytes:
        return encode_space(Space.decode(await self.pod.ask(Request(Op.SPACE))))

    def forget(self, call: Call) -> None:
        for number, lookups in decode_forgets(call):
            self.nodes.forget(number, lookups)

    # --- what is known, and asking ---------------------------------------------------------------------

    def node(self, number: int) -> Node:
        node = self.nodes.get(number)
        if node is None:
            raise _stale()
        return node

    def path(self, node: Node) -> bytes:
        path = self.nodes.path(node)
        if path is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return path

    def path_in(self, directory: Node, name: bytes) -> bytes:
        path = self.path(directory)
        return path + b"/" + name if path else name

    def entry(self, node: Node) -> bytes:
        """The answer that makes a node known to the kernel once more."""
        node.lookups += 1
        return encode_entry(node.number, node.attributes, self.owner, self.seconds(node))

    def valid(self, node: Node) -> bytes:
        return encode_valid_attributes(node.attributes, self.owner, self.seconds(node))

    def seconds(self, node: Node) -> float:
        """So long the kernel may believe what is known of it."""
        if node.has_other_names:  # which the kernel knows nothing of
            return 0.0
        return max(0.0, BELIEVED_SECONDS - max(0.0, self._clock() - node.known_at))

    def made(self, parent: Node, entry: Entry, asked: int) -> Node:
        parent.known_at = NEVER  # its own times have changed
        return self.nodes.put(parent, entry, Told(self._clock(), asked))

    def open_handle(self, node: Node) -> int:
        """The pod's number of a file that is open by that node; 0 where none is."""
        return 0

    async def child(self, parent: Node, name: bytes) -> Node:
        """What has that name now; ENOENT."""
        now = self._clock()
        known = parent.children.get(name)
        if known is not None and is_believed(known.known_at, now):
            return known
        if is_believed(parent.listed_at, now) and known is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if self._asks_for_all(parent, known, now) and await self._could_list(parent):
            known = parent.children.get(name)
            if known is None:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            if is_believed(known.known_at, self._clock()):
                return known
        parent.asked_at = now
        asked = self.nodes.changes
        try:
            payload = await self.pod.ask(Request(Op.STAT, self.path_in(parent, name)))
        except FileNotFoundError:
            if (gone := parent.children.get(name)) is not None:
                self.nodes.drop(gone)
            raise
        return self.nodes.put(parent, Entry(name, Attributes.decode(payload)), Told(self._clock(), asked))

    def _asks_for_all(self, parent: Node, known: Node | None, now: float) -> bool:
        """The whole directory rather than one name of it: unless one alone was changed by us, or it is large
        and nobody asks for many."""
        if known is not None and known.known_at == NEVER and is_believed(parent.listed_at, now):
            return False
        return len(parent.children) <= FEW or is_believed(parent.asked_at, now)

    async def _could_list(self, directory: Node) -> bool:
        try:
            await self.list(directory)
        except PermissionError:  # who may not look into it may still know a name
            return False
        return True

    async def refresh(self, node: Node) -> None:
        """Know what it is now; ENOENT when its name is gone, and it is not open either."""
        if is_believed(node.known_at, self._clock()):
            return
        asked = self.nodes.changes
        if node.parent is not None and (path := self.nodes.path(node)) is not None:
            if await self.child(node.parent, node.name) is not node:
                raise _stale()
            return
        path = self.nodes.path(node)
        handle = 0 if path is not None else self.open_handle(node)
        if path is None and not handle:
            if node.handles:  # all of it is here
                return
            raise _stale()
        payload = await self.pod.ask(Request(Op.STAT, path or b"", handle))
        self.nodes.set_attributes(node, Attributes.decode(payload), Told(self._clock(), asked))

    async def list(self, directory: Node) -> None:
        """Know all names in it, and in those below it while they are few. Asked for once at a time."""
        running = self._listing.get(directory.number)
        if running is not None:
            await asyncio.shield(running)
            return
        self._listing[directory.number] = done = asyncio.get_running_loop().create_future()
        try:
            asked = self.nodes.changes
            payload = await self.pod.ask(Request(Op.LIST, self.path(directory), size=ENTRIES))
            told = Told(self._clock(), asked)
            for listing in decode_listings(payload):
                self.nodes.put_listing(listing, told)
        except OSError as error:
            done.set_exception(error)
            done.exception()  # nobody may wait
            raise
        finally:
            del self._listing[directory.number]
            if not done.done():
                done.set_result(None)


def _stale() -> OSError:
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def is_regular(node: Node) -> bool:
    return stat.S_ISREG(node.attributes.mode)
