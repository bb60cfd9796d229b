from __future__ import annotations

import stat

from telepresence_py.fuse.nodes import NEVER, Nodes, Told, is_believed
from telepresence_sidecar.contract.remote_files import Attributes, Contents, Entry, Listing


def attributes(inode: int, size: int = 0, mode: int = stat.S_IFREG | 0o644, links: int = 1) -> Attributes:
    return Attributes(mode, links, 0, inode, size, 0, 0, inode * 10, 0)


DIRECTORY = attributes(2, mode=stat.S_IFDIR | 0o755)


def tree() -> Nodes:
    nodes = Nodes()
    nodes.put_listing(Listing(b"", [Entry(b"d", DIRECTORY), Entry(b"f", attributes(3))]), Told(1.0, 0))
    nodes.put_listing(Listing(b"d", [Entry(b"g", attributes(4))]), Told(1.0, 0))
    return nodes


def test_paths_are_found_and_told() -> None:
    nodes = tree()
    node = nodes.find(b"d/g")
    assert node is not None
    assert nodes.path(node) == b"d/g"
    assert nodes.find(b"d/missing/x") is None


def test_a_name_that_a_listing_does_not_have_is_gone() -> None:
    nodes = tree()
    gone = nodes.find(b"f")
    nodes.put_listing(Listing(b"", [Entry(b"d", DIRECTORY)]), Told(2.0, 0))
    assert gone is not None
    assert nodes.path(gone) is None
    assert nodes.find(b"d/g") is not None


def test_another_file_of_the_same_name_is_another_node() -> None:
    nodes = tree()
    before = nodes.find(b"f")
    after = nodes.put(nodes.top, Entry(b"f", attributes(9)), Told(2.0, 0))
    assert before is not after
    assert nodes.put(nodes.top, Entry(b"f", attributes(9, size=5)), Told(2.0, 0)) is after


def test_what_moves_takes_along_what_is_below_and_replaces_what_was_there() -> None:
    nodes = tree()
    directory, replaced, inner = nodes.find(b"d"), nodes.find(b"f"), nodes.find(b"d/g")
    assert directory is not None
    assert replaced is not None
    assert inner is not None
    nodes.move(directory, nodes.top, b"f")
    assert nodes.path(inner) == b"f/g"
    assert nodes.path(replaced) is None


def test_what_the_pod_was_asked_before_an_own_change_does_not_count_after_it() -> None:
    nodes = tree()
    node = nodes.find(b"f")
    assert node is not None
    asked = nodes.changes
    nodes.changed(node)
    nodes.put_listing(Listing(b"", [Entry(b"f", attributes(3, size=1))]), Told(2.0, asked))
    assert (node.known_at, node.attributes.size) == (NEVER, 0)
    nodes.put_contents(Contents(b"f", attributes(3, size=1), b"x"), Told(2.0, asked))
    assert node.contents is None
    nodes.set_attributes(node, attributes(3, size=7), Told(3.0, nodes.changes))
    assert (node.known_at, node.attributes.size) == (3.0, 7)


def test_contents_that_are_not_the_whole_file_are_not_kept() -> None:
    nodes = tree()
    nodes.put_contents(Contents(b"f", attributes(3, size=5), b"half"), Told(2.0, 0))
    nodes.put_contents(Contents(b"d/g", attributes(4, size=4), b"full"), Told(2.0, 0))
    half, full = nodes.find(b"f"), nodes.find(b"d/g")
    assert half is not None
    assert full is not None
    assert (half.contents, half.attributes.size, full.contents) == (None, 5, b"full")


def test_what_is_changed_by_one_name_is_in_doubt_by_the_other() -> None:
    nodes = tree()
    first = nodes.put(nodes.top, Entry(b"one", attributes(7, links=2)), Told(2.0, 0))
    second = nodes.put(nodes.top, Entry(b"two", attributes(7, links=2)), Told(2.0, 0))
    nodes.changed(first)
    assert second.known_at == NEVER


def test_a_node_is_forgotten_once_the_kernel_has_and_it_has_no_name() -> None:
    nodes = tree()
    node = nodes.find(b"f")
    assert node is not None
    node.lookups = 2
    nodes.drop(node)
    nodes.forget(node.number, 1)
    assert nodes.get(node.number) is node
    nodes.forget(node.number, 1)
    assert nodes.get(node.number) is None


def test_a_node_with_a_name_is_kept_for_the_next_look_up() -> None:
    nodes = tree()
    node = nodes.find(b"f")
    assert node is not None
    node.lookups = 1
    nodes.forget(node.number, 1)
    assert nodes.find(b"f") is node


def test_nothing_is_believed_for_ever_nor_after_a_doubt() -> None:
    nodes = tree()
    assert is_believed(nodes.top.listed_at, 1.5)
    assert not is_believed(nodes.top.listed_at, 2.0)
    nodes.doubt_all()
    assert not is_believed(nodes.top.listed_at, 1.0)
