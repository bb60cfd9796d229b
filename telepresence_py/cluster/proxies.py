"""PURE: which proxy the way to the API server leads through, decided as Go's net/http does for kubectl."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from telepresence_py.model.errors import PreconditionFailed

DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080}
SCHEMES = "http, https or socks5"


@dataclass(frozen=True)
class Proxy:
    """`url` always has a port; it may carry a password, `place` does not."""

    url: str = field(repr=False)
    scheme: str
    place: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def choose_proxy(server: str, proxy_url: str, whose: str, environment: Mapping[str, str]) -> Proxy | None:
    """The kubeconfig's `proxy-url`, else HTTPS_PROXY or HTTP_PROXY unless NO_PROXY exempts the server.

    `whose` names the cluster entry. PreconditionFailed for a proxy of another kind than http, https, socks5.
    """
    if proxy_url:
        return _parse(proxy_url, f"proxy-url of {whose}")
    url = urlsplit(server)
    name = f"{url.scheme}_proxy"
    found = _either(environment, name)
    if not found or _is_exempt(url, _either(environment, "no_proxy")):
        return None
    return _parse(found if "://" in found else f"http://{found}", name.upper())


def _either(environment: Mapping[str, str], name: str) -> str:
    return (environment.get(name.upper()) or environment.get(name) or "").strip()


def _parse(text: str, source: str) -> Proxy:
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        host, port, url = None, None, urlsplit("")
    scheme = "socks5" if url.scheme == "socks5h" else url.scheme
    if host is None or scheme not in DEFAULT_PORTS:
        raise PreconditionFailed(f"{source} is no address of a proxy: it must be {SCHEMES}://HOST:PORT")
    place = f"{f'[{host}]' if ':' in host else host}:{port or DEFAULT_PORTS[scheme]}"
    login, at, _ = url.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return Proxy(f"{scheme}://{login}{at}{place}", scheme, place, unquote(user), unquote(password))


def _is_exempt(server: SplitResult, no_proxy: str) -> bool:
    host = (server.hostname or "").rstrip(".")
    port = server.port or (443 if server.scheme == "https" else 80)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_covers(rule.strip().lower(), host, port, address) for rule in no_proxy.split(","))


def _covers(
    rule: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    if rule in ("", "*"):
        return rule == "*"
    if "/" in rule:
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    if _address(rule.strip("[]")) is None:
        name, colon, only_port = rule.rpartition(":")
        if colon and only_port.isdigit():
            if int(only_port) != port:
                return False
            rule = name
    rule = rule.strip("[]")
    if address is not None:
        return _address(rule) == address
    rule = rule.removeprefix("*")
    return host.endswith(rule) if rule.startswith(".") else host == rule or host.endswith(f".{rule}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
