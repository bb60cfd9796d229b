"""Which server, context, namespace and credentials: read by the library, chosen as kubectl does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from telepresence_py.cluster.impersonation import Impersonation, read_impersonation
from telepresence_py.cluster.library import load_library
from telepresence_py.cluster.names import suggestion
from telepresence_py.model.errors import ClusterUnreachable, NamedObjectMissing, PreconditionFailed
from telepresence_py.model.intent import ClusterChoice


@dataclass(frozen=True)
class Access:
    """`settings` is the library's Configuration: it holds credentials, and renews them itself.

    `impersonation` is whom requests are made as.
    """

    context: str
    namespace: str
    server: str
    settings: Any = field(repr=False)
    impersonation: Impersonation


@dataclass(frozen=True)
class ContextNames:
    """The context in use, the namespace it gives, and all contexts there are."""

    context: str
    namespace: str
    contexts: tuple[str, ...]
    paths: str
    user: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The user entry; holds credentials."""


def choose_context(choice: ClusterChoice, environment: Mapping[str, str] = os.environ) -> ContextNames:
    """Read the files that `--kubeconfig`, else KUBECONFIG (several, `:` between), else ~/.kube/config name.

    No credentials plugin runs and no request is made. NamedObjectMissing for an unknown file or context.
    """
    paths = choice.kubeconfig or environment.get("KUBECONFIG") or "~/.kube/config"
    merged, files = _read(paths, choice.kubeconfig)
    contexts = {entry["name"]: entry.get("context") or {} for entry in _named(merged.get("contexts"))}
    # the first file that names one decides, as with kubectl; the library would take the last
    current = next((name for raw in files if (name := raw.get("current-context"))), None)
    context = choice.context or current
    if context is None:
        raise NamedObjectMissing(f"the kubeconfig {paths} has no current context: name one with --context")
    if context not in contexts:
        raise NamedObjectMissing(
            f'there is no context "{context}" in the kubeconfig {paths}'
            + suggestion(context, contexts, "contexts")
        )
    namespace = choice.namespace or contexts[context].get("namespace") or "default"
    users = {entry["name"]: entry.get("user") or {} for entry in _named(merged.get("users"))}
    user = users.get(contexts[context].get("user")) or {}
    return ContextNames(str(context), str(namespace), tuple(sorted(contexts)), paths, user)


def load_access(choice: ClusterChoice, environment: Mapping[str, str] = os.environ) -> Access:
    """The settings for requests; credentials plugins may run here, so not on trio's thread.

    ClusterUnreachable when the credentials of the context cannot be read.
    """
    chosen = choose_context(choice, environment)
    library = load_library()
    settings = library.configuration()
    try:
        library.load_kube_config(
            config_file=chosen.paths,
            context=chosen.context,
            client_configuration=settings,
            temp_file_path=_private_directory(environment),
        )
    except library.config_error as error:
        raise ClusterUnreachable(
            f'cannot use the credentials of context "{chosen.context}" in {chosen.paths}: {_one_line(error)}'
        ) from error
    impersonation = read_impersonation(chosen.user, choice, f'the user of context "{chosen.context}"')
    server = str(settings.host).rstrip("/")
    return Access(chosen.context, chosen.namespace, server, settings, impersonation)


def _read(paths: str, named: str | None) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    library = load_library()
    if named is not None and not Path(named).expanduser().exists():
        raise NamedObjectMissing(f"there is no kubeconfig {named}")
    try:
        merger = library.merge(paths)
        if merger.config is None:
            raise ClusterUnreachable(
                f"there is no kubeconfig {paths}, so no cluster: name one with --kubeconfig or KUBECONFIG"
            )
        files = tuple(raw for raw in merger.config_files.values() if isinstance(raw, dict))
        merged = {key: [entry.value for entry in merger.config.value[key]] for key in ("contexts", "users")}
    except ClusterUnreachable:
        raise
    except Exception as error:  # YAML errors, wrong types: whatever a broken file provokes
        raise PreconditionFailed(f"the kubeconfig {paths} cannot be read: {_one_line(error)}") from error
    return merged, files


def _named(entries: Any) -> list[dict[str, Any]]:
    return [entry for entry in entries or [] if isinstance(entry, dict) and "name" in entry]


def _private_directory(environment: Mapping[str, str]) -> str | None:
    """Where the library puts certificates given inline: in memory rather than on a disk, if possible."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    return runtime if runtime and os.access(runtime, os.W_OK | os.X_OK) else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
