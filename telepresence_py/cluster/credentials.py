"""Who we are to the API server, for as long as a session may last: renewed as client-go does, and on demand.

A token file is read again every minute, a certificate's file when it changed, a plugin is run again when its
credential has expired. What the server does not accept is looked for anew at once: perhaps somebody logged in
in another terminal. For worker threads: it blocks while a plugin runs.
"""

from __future__ import annotations

import os
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from telepresence_py.cluster.entries import Pem, UserEntry, read_pem
from telepresence_py.cluster.plugins import Plugin, PluginCredential, credential_of
from telepresence_py.cluster.providers import ProviderToken
from telepresence_py.model.errors import ClusterUnreachable, TelepresenceError
from telepresence_py.model.plugin import Failure, RunPlugin

TOKEN_FILE_SECONDS = 50.0  # client-go: a minute less 10 s
PLUGIN_AGAIN_SECONDS = 30.0  # for a credential that is refused before its time
PLUGIN_FAILED_SECONDS = 10.0


@dataclass(frozen=True)
class Login:
    """How one may become known: `plugin` and `provider` count only where `user` has nothing of its own."""

    user: UserEntry = field(default_factory=UserEntry)
    plugin: Plugin | None = None
    provider: ProviderToken | None = None


@dataclass(frozen=True)
class Identity:
    """What requests carry now: the value of `Authorization`, and a client certificate with key (PEM)."""

    authorization: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


class Credentials:
    """`read_login` reads the kubeconfig anew; safe to use from several threads."""

    def __init__(
        self, read_login: Callable[[], Login], run_plugin: RunPlugin, clock: Callable[[], float] = time.time
    ) -> None:
        self._read_login = read_login
        self._clock = clock
        self._lock = threading.Lock()
        self._plugin = _PluginSource(run_plugin, clock)
        self._last: Identity | None = None
        self._begin(read_login())

    def identity(self) -> Identity:
        """What is good now. ClusterUnreachable when a file cannot be read or a plugin fails."""
        with self._lock:
            self._last = self._current()
            return self._last

    def refused(self, identity: Identity) -> bool:
        """The server did not accept it: True when there is another one now, with which to try again.

        ClusterUnreachable where it is known why there is none.
        """
        with self._lock:
            if self._last == identity:
                self._look_again()
                self._last = self._current()
            if self._last == identity:
                self._plugin.explain_refusal()
            return self._last != identity

    def _begin(self, login: Login) -> None:
        self._login = login
        user = login.user
        self._token_file = _TokenFile(user.token_path, user.token, self._clock) if user.token_path else None
        self._pems = [None if pem is None else _PemFile(pem) for pem in (user.certificate, user.key)]

    def _look_again(self) -> None:
        try:
            login = self._read_login()
        except TelepresenceError:
            login = self._login  # just being written, or gone: what we have may become good again
        if login != self._login:
            self._begin(login)
        elif self._token_file is not None:
            self._token_file.forget()
        self._plugin.forget()

    def _current(self) -> Identity:
        login, user = self._login, self._login.user
        token = user.token if self._token_file is None else self._token_file.token()
        authorization = f"Bearer {token}" if token else ""
        if user.basic is not None:
            authorization = "Basic " + b64encode(":".join(user.basic).encode()).decode()
        certificate, key = (b"" if pem is None else pem.read() for pem in self._pems)
        if authorization or certificate:
            return Identity(authorization, certificate, key)
        if login.plugin is not None:
            credential = self._plugin.credential(login.plugin)
            token = credential.token
            return Identity(f"Bearer {token}" if token else "", credential.certificate, credential.key)
        if login.provider is not None:
            return Identity(f"Bearer {self._provider_token(login.provider)}")
        return Identity()

    def _provider_token(self, provider: ProviderToken) -> str:
        if provider.expires is not None and provider.expires <= self._clock():
            fresh = self._read_login().provider
            if fresh is None or fresh == provider:
                raise ClusterUnreachable(
                    "the id-token of the auth-provider oidc has expired: run any kubectl command with this "
                    "context, which renews it, or replace the provider by an exec plugin"
                )
            self._login = Login(provider=fresh)
            return fresh.token
        return provider.token


class _TokenFile:
    """The token in a file that somebody rotates; the last one read stands in while it cannot be read."""

    def __init__(self, path: str, token: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._token = token
        self._clock = clock
        self._until = 0.0

    def token(self) -> str:
        now = self._clock()
        if now >= self._until:
            try:
                read = Path(self._path).read_text().strip()
                if not read or not read.isprintable():
                    raise ValueError("it holds no token")
            except (OSError, ValueError) as error:
                if not self._token:
                    cause = error.strerror if isinstance(error, OSError) else error
                    raise ClusterUnreachable(f"cannot use the token file {self._path}: {cause}") from error
            else:
                self._token, self._until = read, now + TOKEN_FILE_SECONDS
        return self._token

    def forget(self) -> None:
        self._until = 0.0


class _PemFile:
    """A certificate or key, read again when its file was exchanged."""

    def __init__(self, pem: Pem) -> None:
        self._pem = pem
        self._version: tuple[int, ...] = ()
        self._content = b""

    def read(self) -> bytes:
        version: tuple[int, ...] = ()
        if self._pem.path:
            try:
                status = os.stat(self._pem.path)
                version = (status.st_mtime_ns, status.st_size, status.st_ino)
            except OSError:
                version = (0,)  # let reading it say why
        if not self._content or version != self._version:
            try:
                self._content = read_pem(self._pem, "client certificate or key of the user")
            except ClusterUnreachable:
                if not self._content:
                    raise
            self._version = version
        return self._content


class _PluginSource:
    """The plugin's last credential, or why it gave none: it is not run for every request."""

    def __init__(self, run_plugin: RunPlugin, clock: Callable[[], float]) -> None:
        self._run_plugin = run_plugin
        self._clock = clock
        self._plugin: Plugin | None = None
        self._credential: PluginCredential | None = None
        self._failed: ClusterUnreachable | None = None
        self._ran = 0.0

    def credential(self, plugin: Plugin) -> PluginCredential:
        now = self._clock()
        if plugin != self._plugin:
            self._plugin, self._credential, self._failed = plugin, None, None
        if self._credential is not None and not _has_expired(self._credential, now):
            return self._credential
        if self._failed is not None and now < self._ran + PLUGIN_FAILED_SECONDS:
            raise self._failed.with_traceback(None)
        end = self._run_plugin(plugin.call)
        self._ran = self._clock()
        try:
            self._credential = credential_of(plugin, end)
        except ClusterUnreachable as error:
            # it may have the terminal at any moment, and was not run
            self._failed = None if end.failure is Failure.TERMINAL_TAKEN else error
            raise
        self._failed = None
        return self._credential

    def forget(self) -> None:
        """Unless it was run just now: it would say the same again."""
        if self._clock() >= self._ran + PLUGIN_AGAIN_SECONDS:
            self._credential = None

    def explain_refusal(self) -> None:
        """Raise ClusterUnreachable if the refusal is no wonder."""
        credential, plugin = self._credential, self._plugin
        if plugin is not None and credential is not None and _has_expired(credential, self._clock()):
            assert credential.expires is not None
            when = datetime.fromtimestamp(credential.expires, UTC).isoformat(" ", "seconds")
            raise ClusterUnreachable(
                f"the credential plugin {plugin.name} gave a credential that expired at {when}: "
                "log in again, or check this machine's clock"
            )


def _has_expired(credential: PluginCredential, now: float) -> bool:
    return credential.expires is not None and credential.expires <= now
