"""PURE: the tree of files as far as it is known, and how long ago that was.

A node stands for a name: two names of one file are two nodes with the same inode number. It is in the tree as
long as the pod has that name for that file, and known by its number as long as the kernel remembers it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import NamedTuple

from telepresence_sidecar.contract.remote_files import Attributes, Contents, Entry, Listing

BELIEVED_SECONDS = 1.0
"""So long what the pod told of a name is believed: what others write is seen after that time at most."""

NEVER = float("-inf")

MOST_NODES = 200_000
"""Nodes that the kernel does not know are forgotten when there are more."""

MOST_CONTENTS = 64 << 20
"""Bytes of contents that are kept."""

_TOP = Attributes(stat.S_IFDIR | 0o755, 2, 0, 1, 0, 0, 0, 0, 0)


class Told(NamedTuple):
    """When the pod told something, and how many own changes were known when it was asked."""

    now: float
    asked: int


class Node:
    """`parent` is None for the top and for what has no name any more; `attributes` are what was known at
    `known_at`, all names in a directory at `listed_at`. `contents` is the whole file as it was when its stamp
    was `contents_stamp`, `cached_stamp` that of what the kernel may have in its cache. `version` counts own
    changes, of which the last was the volume's `changed`th. `asked_at` is when one of its names was last
    asked for alone. `handles` are the open ones."""

    __slots__ = (
        "asked_at",
        "attributes",
        "cached_stamp",
        "changed",
        "children",
        "contents",
        "contents_stamp",
        "handles",
        "known_at",
        "listed_at",
        "lookups",
        "name",
        "number",
        "parent",
        "target",
        "version",
    )

    def __init__(self, number: int, parent: Node | None, name: bytes, attributes: Attributes) -> None:
        self.number = number
        self.parent = parent
        self.name = name
        self.attributes = attributes
        self.target = b""
        self.known_at = self.listed_at = self.asked_at = NEVER
        self.children: dict[bytes, Node] = {}
        self.lookups = 0
        self.version = self.changed = 0
        self.contents: bytes | None = None
        self.contents_stamp = self.cached_stamp = (0, 0, 0)
        self.handles: set[int] = set()

    @property
    def stamp(self) -> tuple[int, int, int]:
        """Tells whether contents are still the same."""
        return self.attributes.modified, self.attributes.size, self.attributes.inode

    @property
    def has_other_names(self) -> bool:
        return self.attributes.links > 1 and not self.is_directory

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.attributes.mode)


class Nodes:
    """The tree of one volume. All times come from one clock that never goes back, in seconds."""

    def __init__(self) -> None:
        self.top = Node(1, None, b"", _TOP)
        self.top.lookups = 1
        self._next = 2
        self._by_number = {1: self.top}
        self._held = 0  # bytes of contents
        self.changes = 0
        self._linked: dict[int, set[Node]] = {}  # of files with several names, by inode

    def get(self, number: int) -> Node | None:
        return self._by_number.get(number)

    def path(self, node: Node) -> bytes | None:
        """None of what has no name any more."""
        names: list[bytes] = []
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return b"/".join(reversed(names)) if node is self.top else None

    def find(self, path: bytes) -> Node | None:
        node: Node | None = self.top
        for name in path.split(b"/") if path else ():
            if node is None:
                return None
            node = node.children.get(name)
        return node

    # --- what the pod tells ----------------------------------------------------------------------------

    def set_attributes(self, node: Node, attributes: Attributes, told: Told) -> None:
        """Unless they are of before a change of our own: what the pod did not know then is left in doubt."""
        if node.changed <= told.asked:
            node.attributes, node.known_at = attributes, told.now
            if node.has_other_names:
                self._linked.setdefault(attributes.inode, set()).add(node)

    def put(self, parent: Node, entry: Entry, told: Told) -> Node:
        """The node of that name. Another file of the same name is another node."""
        name, attributes, target = entry
        node = parent.children.get(name)
        if node is not None and not _is_same(node.attributes, attributes):
            self.drop(node)
            node = None
        if node is None:
            node = Node(self._next, parent, name, attributes)
            self._by_number[self._next] = parent.children[name] = node
            self._next += 1
        node.target = target or node.target
        self.set_attributes(node, attributes, told)
        return node

    def put_listing(self, listing: Listing, told: Told) -> None:
        """Names that it does not have are gone."""
        directory = self.find(listing.path)
        if directory is None or not directory.is_directory:
            return
        names = set()
        for entry in listing.entries:
            self.put(directory, entry, told)
            names.add(entry.name)
        for name in [name for name in directory.children if name not in names]:
            self.drop(directory.children[name])
        directory.listed_at = told.now

    def put_contents(self, contents: Contents, told: Told) -> None:
        """Nothing happens where there is no such node, or the data is not the whole file, or of before a
        change."""
        node = self.find(contents.path)
        if node is None or not _is_same(node.attributes, contents.attributes) or node.changed > told.asked:
            return
        self.set_attributes(node, contents.attributes, told)
        if len(contents.data) != contents.attributes.size:
            return
        if self._held > MOST_CONTENTS:
            for other in self._by_number.values():
                other.contents = None
            self._held = 0
        self._held += len(contents.data) - len(node.contents or b"")
        node.contents, node.contents_stamp = contents.data, node.stamp

    def doubt_all(self) -> None:
        """Nothing is believed any more until it is told anew."""
        for node in self._by_number.values():
            node.known_at = node.listed_at = NEVER

    # --- what the kernel does ----------------------------------------------------------------------------

    def drop(self, node: Node) -> None:
        """It has no name any more, nor has what is below it."""
        if node.parent is not None and node.parent.children.get(node.name) is node:
            del node.parent.children[node.name]
        for one in [node, *_below(node)]:
            one.parent = None if one is node else one.parent
            if one.has_other_names:
                self._linked.get(one.attributes.inode, set()).discard(one)
            if not one.lookups:
                self._by_number.pop(one.number, None)

    def move(self, node: Node, directory: Node, name: bytes) -> None:
        """What had that name has none any more."""
        if (replaced := directory.children.get(name)) is not None and replaced is not node:
            self.drop(replaced)
        if node.parent is not None:
            node.parent.children.pop(node.name, None)
        node.parent, node.name = directory, name
        directory.children[name] = node

    def changed(self, node: Node) -> None:
        """It was written by ourselves; what it is now only the pod knows."""
        self.changes += 1
        self._held -= len(node.contents or b"")
        node.version, node.changed = node.version + 1, self.changes
        node.contents = None
        node.known_at = NEVER
        self.doubt_other_names(node)

    def doubt_other_names(self, node: Node) -> None:
        """The same file by another name is another node: what is changed by one has changed for all."""
        if node.has_other_names:
            for other in self._linked.get(node.attributes.inode, ()):
                if other is not node:
                    other.known_at = NEVER

    def forget(self, number: int, lookups: int) -> None:
        node = self._by_number.get(number)
        if node is None or node is self.top:
            return
        node.lookups -= lookups
        if node.lookups <= 0 and (self.path(node) is None or len(self._by_number) > MOST_NODES):
            node.lookups = 0
            if not node.children or self.path(node) is None:
                self.drop(node)
                self._by_number.pop(number, None)


def _below(node: Node) -> Iterator[Node]:
    for child in node.children.values():
        yield child
        yield from _below(child)


def _is_same(one: Attributes, other: Attributes) -> bool:
    return one.inode == other.inode and stat.S_IFMT(one.mode) == stat.S_IFMT(other.mode)


def is_believed(told_at: float, now: float) -> bool:
    return now - told_at < BELIEVED_SECONDS
