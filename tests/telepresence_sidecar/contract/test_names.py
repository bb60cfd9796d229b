from __future__ import annotations

import pytest

from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.names import Inquiry
from tests.telepresence_py.dns.test_wire import query_for

PATH = ("svc.cluster.local", "cluster.local", ".")
WALK = Inquiry(query_for("WWW.Example.shop.svc.cluster.local", 28, udp_size=1232), 2, PATH)


@pytest.mark.parametrize("inquiry", [WALK, Inquiry(b"?"), Inquiry(b"?", whole=False)])
def test_an_inquiry_survives_the_way(inquiry: Inquiry) -> None:
    assert Inquiry.of(Opening.decode(inquiry.opening().encode())) == inquiry


def test_what_an_older_laptop_asks_is_the_query_alone_and_whole() -> None:
    assert Inquiry.of(Opening(Kind.DNS, rest=b"?")) == Inquiry(b"?")


def test_the_queries_differ_in_their_names_alone() -> None:
    names = [b"WWW.Example.svc.cluster.local", b"WWW.Example.cluster.local", b"WWW.Example"]
    expected = [query_for(name.decode(), 28, udp_size=1232) for name in names]
    assert list(WALK.queries()) == [WALK.query, *expected]


def test_a_path_that_does_not_fit_is_cut() -> None:
    path = tuple(f"{'x' * 60}.example{number}" for number in range(9))
    told = Inquiry.of(Inquiry(query_for("a.b"), 1, path).opening())
    assert told.further == path[:3]


def test_a_name_that_would_be_too_long_is_left_out() -> None:
    domains = ("y" * 64, ".".join(["z" * 60] * 4), ".")
    inquiry = Inquiry(query_for("aaaaaaaaaaaaaaaa.b"), 1, domains)
    assert list(inquiry.queries()) == [inquiry.query, query_for("aaaaaaaaaaaaaaaa")]


@pytest.mark.parametrize("kept", [0, 3])
def test_labels_that_the_name_does_not_have_are_an_error(kept: int) -> None:
    with pytest.raises(ValueError, match="2 labels"):
        list(Inquiry(query_for("a.b"), kept, (".",)).queries())


@pytest.mark.parametrize("query", [bytes(12), query_for("a.b")[:14], bytes(12) + b"\xc0\x0c\0\1\0\1"])
def test_a_question_that_cannot_be_read_is_an_error(query: bytes) -> None:
    with pytest.raises(ValueError, match="name"):
        list(Inquiry(query, 1, (".",)).queries())
