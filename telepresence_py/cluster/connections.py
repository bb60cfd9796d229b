"""Connections to one API server, with the credentials of the moment: for requests and port-forwards."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from typing import Any

from telepresence_py.cluster.credentials import Credentials, Identity
from telepresence_py.cluster.impersonation import Headers
from telepresence_py.cluster.kubeconfig import Access
from telepresence_py.cluster.library import load_library
from telepresence_py.cluster.light import urllib3
from telepresence_py.cluster.tls import proxy_tls, server_tls
from telepresence_py.model.errors import ClusterUnreachable
from telepresence_py.model.plugin import RunPlugin
from telepresence_py.system import notices_its_end


@dataclass(frozen=True)
class Way:
    """One way to the server: who we are on it, TLS (None: http://), and a pool of connections of urllib3."""

    identity: Identity
    tls: ssl.SSLContext | None
    pool: Any = field(repr=False)
    headers: Headers = field(repr=False)


class Connections:
    """To the cluster of `access`; safe to use from several threads. Close it with `close`."""

    def __init__(self, access: Access, run_plugin: RunPlugin) -> None:
        self.access = access
        self._credentials = Credentials(access.read_login, run_plugin)
        self._impersonation = access.impersonation.headers()
        self._lock = threading.Lock()
        self._way: Way | None = None
        encrypted = access.proxy is not None and access.proxy.scheme == "https"
        self.proxy_tls = proxy_tls(access.cluster) if encrypted else None

    def close(self) -> None:
        if self._way is not None:
            self._way.pool.clear()

    def way(self) -> Way:
        """The way as it is now; a plugin of the kubeconfig may run. ClusterUnreachable without credentials.

        Another client certificate takes new connections: what goes on over the old ones is not cut. One that
        cannot be used, as its files are just being exchanged, does not replace one that can.
        """
        identity = self._credentials.identity()
        with self._lock:
            if self._way is None or self._way.identity != identity:
                self._way = self._new_way(identity, self._way)
            return self._way

    def refused(self, way: Way) -> bool:
        """The server did not accept who we are on that way: True when another try makes sense.

        ClusterUnreachable where it is known why none does.
        """
        return self._credentials.refused(way.identity)

    def _new_way(self, identity: Identity, old: Way | None) -> Way:
        headers = (*_authorization(identity), *self._impersonation)
        if old is not None and _same_certificate(old.identity, identity):
            return Way(identity, old.tls, old.pool, headers)
        try:
            tls = server_tls(self.access.cluster, identity)
        except ClusterUnreachable:
            if old is None:
                raise
            return old
        if old is not None:
            old.pool.clear()
        return Way(identity, tls, _open_pool(self.access, tls, self.proxy_tls), headers)


def _authorization(identity: Identity) -> Headers:
    return (("Authorization", identity.authorization),) if identity.authorization else ()


def _same_certificate(one: Identity, other: Identity) -> bool:
    return (one.certificate, one.key) == (other.certificate, other.key)


def _open_pool(access: Access, tls: ssl.SSLContext | None, tls_of_proxy: ssl.SSLContext | None) -> Any:
    library = load_library()
    settings = library.configuration()
    settings.host = access.server
    settings.verify_ssl = not access.cluster.insecure
    settings.tls_server_name = access.cluster.server_name or None
    # decided already, for the port-forward as well
    settings.proxy, settings.no_proxy = None, ""
    if access.proxy is not None:
        # as kubectl's, the name of the server is the proxy's to resolve
        settings.proxy = access.proxy.url.replace("socks5://", "socks5h://")
        settings.proxy_ssl_context = tls_of_proxy
        if access.proxy.user:
            login = f"{access.proxy.user}:{access.proxy.password}"
            settings.proxy_headers = urllib3.make_headers(proxy_basic_auth=login)
    if access.cluster.insecure:  # the user has said so
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    pool = library.connections(settings).pool_manager
    pool.connection_pool_kw["socket_options"] = [
        *urllib3.connection.HTTPConnection.default_socket_options,
        # else a laptop that has got another address would wait for its watches' SILENCE_SECONDS
        *notices_its_end(),
    ]
    if tls is not None:
        pool.connection_pool_kw["ssl_context"] = tls
    return pool
