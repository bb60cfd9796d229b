"""The entries of a kubeconfig, as kubectl reads them: pure, but for the certificates that they name."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from telepresence_py.model.errors import ClusterUnreachable, PreconditionFailed
from telepresence_py.model.intent import is_header_value

PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"


@dataclass(frozen=True)
class Entry:
    """A named entry; relative paths in it are relative to `directory`, that of the file it stands in."""

    name: str
    fields: Mapping[str, Any] = field(repr=False)
    directory: str = ""


@dataclass(frozen=True)
class ClusterEntry:
    """`server` is http:// or https:// without a slash at the end. `authority` is PEM; None: the system's."""

    name: str
    server: str
    server_name: str = ""
    insecure: bool = False
    authority: bytes | None = None
    proxy_url: str = field(default="", repr=False)
    plugin_config: Any = None

    @property
    def is_encrypted(self) -> bool:
        return self.server.startswith("https://")


@dataclass(frozen=True)
class Pem:
    """A certificate or key: given inline, or by the path of a file that may be exchanged at any time."""

    data: bytes = field(default=b"", repr=False)
    path: str = ""


@dataclass(frozen=True)
class UserEntry:
    """What a user entry says of who we are; all parts may be empty."""

    token: str = field(default="", repr=False)
    token_path: str = ""
    basic: tuple[str, str] | None = field(default=None, repr=False)
    certificate: Pem | None = None
    key: Pem | None = None


def read_cluster(entry: Entry) -> ClusterEntry:
    """PreconditionFailed for what kubectl would refuse, ClusterUnreachable for an unreadable authority."""
    fields, whose = entry.fields, f'the cluster "{entry.name}"'
    server = text_of(fields, "server", whose).rstrip("/")
    if not server:
        raise PreconditionFailed(f"{whose} of the kubeconfig has no server")
    insecure = bool(fields.get("insecure-skip-tls-verify"))
    authority = _pem(entry, "certificate-authority", whose)
    if authority is not None and insecure:
        raise PreconditionFailed(
            f"{whose} has both insecure-skip-tls-verify and a certificate authority: remove one of them"
        )
    if "://" not in server:
        server = f"{'https' if insecure or authority else 'http'}://{server}"
    if urlsplit(server).scheme not in ("http", "https"):
        raise PreconditionFailed(f"{whose} has the server {server}: it must begin with https://")
    return ClusterEntry(
        entry.name,
        server,
        text_of(fields, "tls-server-name", whose),
        insecure,
        None if authority is None else read_pem(authority, f"certificate-authority of {whose}"),
        text_of(fields, "proxy-url", whose),
        _plugin_config(fields),
    )


def read_user(entry: Entry, whose: str) -> UserEntry:
    """PreconditionFailed for what kubectl would refuse. Files are not read yet."""
    fields = entry.fields
    token, name = text_of(fields, "token", whose), text_of(fields, "username", whose)
    password = text_of(fields, "password", whose)
    if token and (name or password):
        raise PreconditionFailed(f"{whose} has both a token and a password: remove one of them")
    if not is_header_value(token):
        raise PreconditionFailed(f"the token of {whose} has a line break or another control character")
    certificate = _pem(entry, "client-certificate", whose)
    key = _pem(entry, "client-key", whose)
    if certificate is not None and key is None:
        raise PreconditionFailed(f"{whose} has a client-certificate without a client-key")
    path = text_of(fields, "tokenFile", whose)
    return UserEntry(
        token,
        os.path.join(entry.directory, path) if path else "",
        (name, password) if name or password else None,
        certificate,
        key if certificate is not None else None,
    )


def read_pem(pem: Pem, what: str) -> bytes:
    """Its content now; ClusterUnreachable when the file cannot be read."""
    if not pem.path:
        return pem.data
    try:
        return Path(pem.path).read_bytes()
    except OSError as error:
        raise ClusterUnreachable(f"cannot read {pem.path}, the {what}: {error.strerror}") from error


def text_of(fields: Mapping[str, Any], key: str, whose: str) -> str:
    """A field that is text, empty when it is not there; PreconditionFailed when it is something else."""
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise PreconditionFailed(f"{key} of {whose} must be text; put it in quotes")
    return value


def _pem(entry: Entry, key: str, whose: str) -> Pem | None:
    """Inline data outdoes a file."""
    if data := text_of(entry.fields, f"{key}-data", whose):
        try:
            return Pem(base64.b64decode("".join(data.split()), validate=True))
        except binascii.Error as error:
            raise PreconditionFailed(f"{key}-data of {whose} is not base64") from error
    path = text_of(entry.fields, key, whose)
    return Pem(path=os.path.join(entry.directory, path)) if path else None


def _plugin_config(fields: Mapping[str, Any]) -> Any:
    extensions = fields.get("extensions")
    for one in extensions if isinstance(extensions, list) else ():
        if isinstance(one, Mapping) and one.get("name") == PLUGIN_EXTENSION:
            return one.get("extension")
    return None
