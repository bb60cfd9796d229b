"""PURE: the `exec` entry of a kubeconfig, what its plugin is told, and what it answers.

As client-go does it (k8s.io/client-go/plugin/pkg/client/auth/exec), versions v1 and v1beta1.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from telepresence_py.cluster.entries import ClusterEntry, text_of
from telepresence_py.model.errors import ClusterUnreachable, PreconditionFailed
from telepresence_py.model.plugin import Failure, Interaction, PluginCall, PluginEnd

GROUP = "client.authentication.k8s.io"
MOST_COMPLAINT = 300
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")


@dataclass(frozen=True)
class Plugin:
    """`name` is what stands in the kubeconfig, for sentences."""

    name: str
    version: str
    call: PluginCall
    install_hint: str = ""


@dataclass(frozen=True)
class PluginCredential:
    """A token, or a certificate with its key (PEM), or both. `expires` in seconds since 1970; None: never."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    expires: float | None = None


def read_plugin(entry: Any, directory: str, whose: str, cluster: ClusterEntry) -> Plugin:
    """The plugin of an `exec` entry; PreconditionFailed for one that kubectl would refuse.

    `directory` is that of the kubeconfig: a command with a slash is relative to it.
    """
    if not isinstance(entry, Mapping):
        raise PreconditionFailed(f"exec of {whose} must have command, apiVersion and interactiveMode")
    name, version = text_of(entry, "command", whose), text_of(entry, "apiVersion", whose)
    if not name:
        raise PreconditionFailed(f"exec of {whose} names no command")
    if version not in VERSIONS:
        known = " or ".join(VERSIONS)
        raise PreconditionFailed(f'exec of {whose} has apiVersion "{version}": {known} is understood')
    arguments = entry.get("args") or []
    variables = entry.get("env") or []
    if not isinstance(arguments, list) or not isinstance(variables, list):
        raise PreconditionFailed(f"args and env of exec of {whose} must be lists")
    info: dict[str, object] = {"kind": "ExecCredential", "apiVersion": version, "spec": {}}
    if entry.get("provideClusterInfo"):
        info["spec"] = {"cluster": _cluster_info(cluster)}
    call = PluginCall(
        (os.path.join(directory, name) if "/" in name else name, *map(str, arguments)),
        dict(_variable(variable, whose) for variable in variables),
        info,
        _interaction(entry, version, whose),
    )
    return Plugin(name, version, call, _plain(text_of(entry, "installHint", whose)))


def credential_of(plugin: Plugin, end: PluginEnd) -> PluginCredential:
    """What the plugin answered; ClusterUnreachable, without a word of stdout, for what is no credential."""
    if end.failure is not None or end.status != 0:
        raise ClusterUnreachable(_failed(plugin, end))
    try:
        answer = json.loads(end.output)
        status, version = answer["status"], answer["apiVersion"]
        if answer["kind"] != "ExecCredential" or not isinstance(status, dict):
            raise ValueError
        token = str(status.get("token") or "")
        certificate = str(status.get("clientCertificateData") or "")
        key = str(status.get("clientKeyData") or "")
        expiry = status.get("expirationTimestamp")
        expires = None if expiry is None else datetime.fromisoformat(expiry).timestamp()
    except (ValueError, KeyError, TypeError):
        raise ClusterUnreachable(
            f"the credential plugin {plugin.name} wrote something else than an ExecCredential: "
            "run it by hand, or check its arguments in the kubeconfig"
        ) from None
    if version != plugin.version:
        raise ClusterUnreachable(
            f'the credential plugin {plugin.name} answered in version "{version}", but the kubeconfig says '
            f'"{plugin.version}": correct apiVersion there'
        )
    if bool(certificate) != bool(key) or not (token or certificate):
        given = "a certificate without its key, or a key alone" if certificate or key else "no credential"
        raise ClusterUnreachable(f"the credential plugin {plugin.name} gave {given}: log in again")
    if token and not token.isprintable():
        raise ClusterUnreachable(f"the credential plugin {plugin.name} gave a token with a line break in it")
    return PluginCredential(token, certificate.encode(), key.encode(), expires)


def _failed(plugin: Plugin, end: PluginEnd) -> str:
    name = f"the credential plugin {plugin.name}"
    said = f" ({_one_line(end.complaint)[-MOST_COMPLAINT:]})" if end.complaint else ""
    match end.failure:
        case Failure.MISSING:
            hint = f": {_one_line(plugin.install_hint)}" if plugin.install_hint else ""
            return f"{name} is not installed{hint or ', or not on the PATH'}"
        case Failure.TERMINAL_TAKEN:
            return (
                f"{name} asks on the terminal, which the command has: it will ask when the command has ended"
            )
        case Failure.NO_TERMINAL:
            return f"{name} asks on a terminal and there is none here: log in where there is one"
        case Failure.TOO_LATE:
            return f"{name} did not answer in time{said}: log in in another terminal"
        case Failure.NOT_EXECUTABLE:
            return f"{name} cannot be executed: check the command in the kubeconfig"
    ended = f"exit code {end.status}" if end.status > 0 else f"signal {-end.status}"
    return f"{name} failed with {ended}{said}: log in again, in another terminal if this one is in use"


def _variable(variable: Any, whose: str) -> tuple[str, str]:
    if not isinstance(variable, Mapping) or not variable.get("name"):
        raise PreconditionFailed(f"each of env of exec of {whose} must have a name and a value")
    value = variable.get("value")
    return str(variable["name"]), "" if value is None else str(value)


def _interaction(entry: Mapping[str, Any], version: str, whose: str) -> Interaction:
    mode = text_of(entry, "interactiveMode", whose)
    if not mode and version != VERSIONS[0]:
        return Interaction.IF_AVAILABLE
    try:
        return Interaction(mode)
    except ValueError:
        raise PreconditionFailed(
            f'exec of {whose} has interactiveMode "{mode}": it must be Never, IfAvailable or Always'
        ) from None


def _cluster_info(cluster: ClusterEntry) -> dict[str, object]:
    info: dict[str, object] = {"server": cluster.server}
    if cluster.server_name:
        info["tls-server-name"] = cluster.server_name
    if cluster.insecure:
        info["insecure-skip-tls-verify"] = True
    if cluster.authority is not None:
        info["certificate-authority-data"] = base64.b64encode(cluster.authority).decode()
    if cluster.proxy_url:
        info["proxy-url"] = cluster.proxy_url
    return {**info, "config": cluster.plugin_config}


def _plain(text: str) -> str:
    """Without what could command a terminal."""
    return "".join(letter for letter in text if letter.isprintable() or letter.isspace())


def _one_line(text: str) -> str:
    return " ".join(_plain(text).split())
