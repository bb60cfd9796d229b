from __future__ import annotations

import pytest

from telepresence_py.dns.search import SearchPath
from telepresence_sidecar.contract.names import Inquiry
from tests.telepresence_py.dns.test_wire import query_for

TEXT = (
    "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.0.0.10\noptions ndots:5\n"
)
PATH = SearchPath.of(TEXT)


def inquiry(name: str, path: SearchPath = PATH, left_out: str = "") -> Inquiry:
    return path.inquiry(query_for(name), False, lambda asked: asked == left_out)


@pytest.mark.parametrize(
    ("text", "ndots"),
    [
        ("search a\n", 1),
        ("options ndots:5 edns0\n", 5),
        ("options ndots:2\noptions timeout:1 ndots:0", 0),
        ("options ndots:99", 15),
        ("options ndots:x ndots\n", 1),
    ],
)
def test_ndots_is_read_as_resolv_conf_says(text: str, ndots: int) -> None:
    assert SearchPath.of(text).ndots == ndots


def test_the_first_name_of_the_path_brings_the_rest_of_it() -> None:
    further = ("svc.cluster.local", "cluster.local", ".")
    name = "www.Example.shop.SVC.cluster.local"
    assert inquiry(name) == Inquiry(query_for(name), 2, further, whole=False)


@pytest.mark.parametrize(
    "name",
    [
        "www.example",
        "www.example.svc.cluster.local",
        "shop.svc.cluster.local",
        "www.example.cluster.local",
        ".",
    ],
)
def test_any_other_name_stands_alone(name: str) -> None:
    assert inquiry(name) == Inquiry(query_for(name), whole=False)


def test_a_name_of_enough_dots_has_been_asked_for_before() -> None:
    path = SearchPath(("a.example", "b.example"), ndots=1)
    assert inquiry("www.host.a.example", path).further == ("b.example",)
    assert inquiry("www.a.example", path).further == ("b.example", ".")


def test_the_walk_ends_before_the_first_name_that_is_left_out() -> None:
    assert inquiry("nas.shop.svc.cluster.local", left_out="nas.cluster.local").further == (
        "svc.cluster.local",
    )
    assert inquiry("nas.shop.svc.cluster.local", left_out="nas").further == (
        "svc.cluster.local",
        "cluster.local",
    )


def test_what_is_no_host_name_begins_no_walk() -> None:
    query = query_for("xx.shop.svc.cluster.local").replace(b"xx", b"\xff.")
    assert PATH.inquiry(query, True, lambda name: False) == Inquiry(query)


def test_without_a_path_there_is_no_walk() -> None:
    assert inquiry("www.example", SearchPath.of("nameserver 10.0.0.10\n")).further == ()
