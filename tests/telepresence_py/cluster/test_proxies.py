from __future__ import annotations

import pytest

from telepresence_py.cluster.proxies import choose_proxy
from telepresence_py.model.errors import PreconditionFailed

PROXY = "http://proxy:3128"


def place(server="https://api.example.org:6443", url="", **environment):
    proxy = choose_proxy(server, url, "the cluster", environment)
    return None if proxy is None else f"{proxy.scheme} {proxy.place}"


def test_without_any_word_there_is_no_proxy():
    assert place() is None


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://proxy", "http proxy:80"),
        ("https://proxy", "https proxy:443"),
        ("socks5://proxy", "socks5 proxy:1080"),
        ("http://[fd00::1]:3128", "http [fd00::1]:3128"),
    ],
)
def test_the_kubeconfigs_proxy_counts_whatever_the_environment_says(url, found):
    assert place(url=url, HTTPS_PROXY="http://other", NO_PROXY="*") == found


def test_the_environments_proxy_is_that_of_the_servers_scheme():
    environment = {"https_proxy": "http://secure:1", "HTTP_PROXY": "plain:2", "ALL_PROXY": "http://all:3"}
    assert place(**environment) == "http secure:1"
    assert place("http://api.example.org", **environment) == "http plain:2"


@pytest.mark.parametrize(
    ("server", "no_proxy"),
    [
        ("https://localhost:6443", ""),
        ("https://127.1.2.3", ""),
        ("https://[::1]:6443", ""),
        ("https://api.example.org:6443", "*"),
        ("https://api.example.org:6443", "other, EXAMPLE.org"),
        ("https://api.example.org:6443", ".example.org"),
        ("https://api.example.org:6443", "*.example.org"),
        ("https://api.example.org:6443", "api.example.org:6443"),
        ("https://api.example.org", "api.example.org:443"),
        ("https://10.1.2.3:6443", "10.0.0.0/8"),
        ("https://10.1.2.3:6443", "10.1.2.3"),
        ("https://[fd00::1]:6443", "fd00::/8"),
        ("https://[fd00::1]:6443", "fd00:0::1"),
    ],
)
def test_servers_that_are_exempt(server, no_proxy):
    assert place(server, HTTPS_PROXY=PROXY, no_proxy=no_proxy) is None


@pytest.mark.parametrize(
    ("server", "no_proxy"),
    [
        ("https://example.org", ".example.org"),
        ("https://anexample.org", "example.org"),
        ("https://api.example.org:6443", "api.example.org:443"),
        ("https://10.1.2.3:6443", "11.0.0.0/8,10.1.2.4,10.1.2.0/x"),
        ("https://10.1.2.3:6443", "2.3"),
    ],
)
def test_servers_that_are_not(server, no_proxy):
    assert place(server, HTTPS_PROXY=PROXY, NO_PROXY=no_proxy) == "http proxy:3128"


@pytest.mark.parametrize("url", ["ftp://proxy", "proxy:3128", "http://", "http://proxy:port", "http://[::1"])
def test_what_is_no_proxy_is_refused_without_showing_it(url):
    with pytest.raises(PreconditionFailed, match=r"proxy-url of the cluster.*http, https or socks5"):
        place(url=url)


def test_a_login_is_decoded_and_never_shown():
    proxy = choose_proxy("https://api", "socks5://me:p%40ss@proxy:1", "the cluster", {})
    assert proxy is not None
    assert (proxy.user, proxy.password, proxy.url) == ("me", "p@ss", "socks5://me:p%40ss@proxy:1")
    assert "ss@" not in repr(proxy)
