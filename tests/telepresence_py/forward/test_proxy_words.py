"""What clients of the proxy say, and what they are told."""

from __future__ import annotations

import errno

import pytest

from telepresence_py.forward.proxy_words import MOST_HEAD_BYTES, Asking, Refused, Request, basic

SECRET = "s3cret"
GREETING, LOGIN = b"\x05\x01\x02", b"\x01\x03who\x06s3cret"
AUTHORIZED = f"Proxy-Authorization: {basic('who', SECRET)}\r\n".encode()


def asked(*pieces: bytes) -> tuple[Request | None, bytes]:
    """The request that these make, and what was answered on the way."""
    asking = Asking(SECRET)
    answers = b"".join(asking.feed(piece) for piece in pieces)
    return asking.request, answers


def refusal(*pieces: bytes) -> bytes:
    with pytest.raises(Refused) as caught:
        asked(*pieces)
    return caught.value.answer


def wanted(words: bytes) -> tuple[str, int, bytes]:
    request, _ = asked(words)
    assert request is not None
    return request.host, request.port, request.first


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (b"\x03\x06orders", "orders"),
        (b"\x01\x0a\x00\x00\x01", "10.0.0.1"),
        (b"\x04" + bytes.fromhex("20010db8") + bytes(11) + b"\x01", "2001:db8::1"),
    ],
)
def test_socks_asks_by_name_and_by_addresses_of_both_families(address: bytes, host: str) -> None:
    words = GREETING + LOGIN + b"\x05\x01\x00" + address + b"\x1f\x90"
    request, answers = asked(words + b"early")
    assert answers == b"\x05\x02\x01\x00"
    assert request is not None
    assert (request.host, request.port, request.first) == (host, 8080, b"early")


@pytest.mark.parametrize(
    "words",
    [
        GREETING + LOGIN + b"\x05\x01\x00\x03\x06orders\x1f\x90",
        b"CONNECT orders:443 HTTP/1.1\r\nHost: orders:443\r\n" + AUTHORIZED + b"\r\n",
        b"GET http://orders/x HTTP/1.1\r\nHost: orders\r\n" + AUTHORIZED + b"\r\n",
    ],
)
def test_the_words_may_come_in_any_pieces(words: bytes) -> None:
    request, answers = asked(words)
    in_bytes, answers_in_bytes = asked(*(words[at : at + 1] for at in range(len(words))))
    assert request is not None
    assert request == in_bytes
    assert answers == answers_in_bytes
    assert asked(words[:-1])[0] is None


def test_who_offers_no_password_is_refused() -> None:
    assert refusal(b"\x05\x02\x00\x01") == b"\x05\xff"


@pytest.mark.parametrize("login", [b"\x01\x03who\x05s3cre", b"\x01\x00\x00", b"\x01\x03who\x07s3cretX"])
def test_a_wrong_password_is_refused(login: bytes) -> None:
    assert refusal(GREETING + login) == b"\x01\x01"


def test_socks_does_not_bind_nor_relay_datagrams() -> None:
    for command in (2, 3):
        words = GREETING + LOGIN + bytes((5, command, 0)) + b"\x01\x0a\x00\x00\x01\x00\x50"
        assert refusal(words)[:2] == b"\x05\x07"
    assert refusal(GREETING + LOGIN + b"\x05\x01\x00\x09")[:2] == b"\x05\x08"


@pytest.mark.parametrize(
    ("error", "reply", "status"),
    [
        (0, 0, b"200"),
        (errno.ECONNREFUSED, 5, b"502"),
        (errno.EHOSTUNREACH, 4, b"502"),
        (errno.ENETUNREACH, 3, b"502"),
        (errno.ETIMEDOUT, 6, b"504"),
        (errno.EIO, 1, b"502"),
    ],
)
def test_what_became_of_the_connection_is_told(error: int, reply: int, status: bytes) -> None:
    socks, _ = asked(GREETING + LOGIN + b"\x05\x01\x00\x03\x01a\x00\x50")
    http, _ = asked(b"CONNECT a:80 HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")
    assert socks is not None
    assert http is not None
    assert socks.answer(error)[:2] == bytes((5, reply))
    assert http.answer(error).split()[1] == status


def test_connect_names_a_host_or_an_address_and_a_port() -> None:
    for target, host in (
        ("orders:443", "orders"),
        ("[fd00::1]:443", "fd00::1"),
        ("10.0.0.1:443", "10.0.0.1"),
    ):
        words = f"CONNECT {target} HTTP/1.1\r\n".encode() + AUTHORIZED + b"\r\n\x16\x03"
        assert wanted(words) == (host, 443, b"\x16\x03")


def test_a_plain_request_is_passed_on_for_its_host_alone_and_ends_with_its_answer() -> None:
    words = (
        b"POST http://me:pw@Orders:8080/a?b=c HTTP/1.1\r\nHost: Orders:8080\r\n"
        b"Proxy-Connection: keep-alive\r\nConnection: keep-alive\r\nContent-Length: 4\r\n"
        + AUTHORIZED
        + b"\r\nbody"
    )
    assert wanted(words) == (
        "Orders",
        8080,
        b"POST /a?b=c HTTP/1.1\r\nHost: Orders:8080\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
    )


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://a", "/"), ("HTTP://a/", "/"), ("http://a?x=/y", "/?x=/y"), ("http://a//", "//")],
)
def test_the_path_is_what_stands_behind_the_host(target: str, path: str) -> None:
    host, port, first = wanted(f"GET {target} HTTP/1.1\r\n".encode() + AUTHORIZED + b"\r\n")
    assert (host, port) == ("a", 80)
    assert first.split()[1] == path.encode()


def test_a_request_to_upgrade_stays_one() -> None:
    head = b"GET http://a/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + AUTHORIZED + b"\r\n"
    first = wanted(head)[2]
    assert b"Connection: Upgrade\r\n" in first
    assert b"Upgrade: websocket\r\n" in first


def test_the_proxys_password_is_not_passed_on() -> None:
    first = wanted(b"GET http://a/ HTTP/1.1\r\n" + AUTHORIZED + b"\r\n")[2]
    assert b"uthorization" not in first


@pytest.mark.parametrize("given", ["", "Basic !!!", basic("who", "other"), "Bearer s3cret", "Basic"])
def test_without_the_password_a_client_is_asked_for_it(given: str) -> None:
    header = f"Proxy-Authorization: {given}\r\n" if given else ""
    answer = refusal(f"GET http://a/ HTTP/1.1\r\n{header}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert b"\r\nProxy-Authenticate: Basic " in answer


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/1.1",
        "GET https://a/ HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://a:b/ HTTP/1.1",
        "GET http://a:99999/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "CONNECT a HTTP/1.1",
        "CONNECT a:0 HTTP/1.1",
        "CONNECT :80 HTTP/1.1",
        "CONNECT a:٣ HTTP/1.1",
        "GET http://a/ HTTP/2",
        "nonsense",
    ],
)
def test_what_asks_for_nothing_that_we_know_is_a_bad_request(line: str) -> None:
    assert refusal(line.encode() + b"\r\n" + AUTHORIZED + b"\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_folded_header_is_a_bad_request() -> None:
    words = b"GET http://a/ HTTP/1.1\r\nA: b\r\n c\r\n" + AUTHORIZED + b"\r\n"
    assert refusal(words).startswith(b"HTTP/1.1 400 ")


def test_a_head_without_an_end_is_refused() -> None:
    asking = Asking(SECRET)
    asking.feed(b"GET http://a/ HTTP/1.1\r\n")
    with pytest.raises(Refused, match="431"):
        asking.feed(b"A: " + b"b" * MOST_HEAD_BYTES)
