"""Which server, context, namespace and credentials: the kubeconfig's files, merged as kubectl does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from telepresence_py.cluster.credentials import Login
from telepresence_py.cluster.entries import ClusterEntry, Entry, read_cluster, read_user
from telepresence_py.cluster.impersonation import Impersonation, read_impersonation
from telepresence_py.cluster.incluster import CONTEXT, DIRECTORY, ServiceAccount, find_service_account
from telepresence_py.cluster.library import load_library
from telepresence_py.cluster.names import suggestion
from telepresence_py.cluster.plugins import read_plugin
from telepresence_py.cluster.providers import read_provider
from telepresence_py.cluster.proxies import Proxy, choose_proxy
from telepresence_py.model.errors import ClusterUnreachable, NamedObjectMissing, PreconditionFailed
from telepresence_py.model.intent import ClusterChoice

SECTIONS = ("contexts", "clusters", "users")


@dataclass(frozen=True)
class Access:
    """One cluster and how to reach it. `read_login` reads anew how to become known to it: it holds secrets.

    `impersonation` is whom requests are made as.
    """

    context: str
    namespace: str
    cluster: ClusterEntry
    proxy: Proxy | None
    impersonation: Impersonation
    read_login: Callable[[], Login] = field(repr=False)

    @property
    def server(self) -> str:
        return self.cluster.server


@dataclass(frozen=True)
class Kubeconfig:
    """All files together: of entries with one name the first counts. `paths` is for sentences."""

    paths: str
    current: str | None
    contexts: Mapping[str, Entry]
    clusters: Mapping[str, Entry]
    users: Mapping[str, Entry]


def load_access(
    choice: ClusterChoice, environment: Mapping[str, str] = os.environ, pod_directory: Path = DIRECTORY
) -> Access:
    """How to reach the cluster that was chosen. No request is made, and no plugin is run.

    The files are those that `--kubeconfig`, else KUBECONFIG (several, `:` between), else ~/.kube/config name;
    without any, the service account of the pod that we run in. NamedObjectMissing for an unknown file or
    context, PreconditionFailed for a file or an entry that kubectl would refuse, ClusterUnreachable when
    there is no kubeconfig, or a certificate cannot be read.
    """
    kubeconfig = read_kubeconfig(choice, environment)
    if (account := _account(kubeconfig, choice, environment, pod_directory)) is not None:
        return _access_in_pod(account, choice, environment)
    context = _context(kubeconfig, choice.context)
    fields = context.fields
    whose = f'the user of context "{context.name}"'
    cluster = read_cluster(_named(kubeconfig.clusters, fields.get("cluster"), "cluster", context.name))
    user = _user(kubeconfig, context)
    again = partial(_read_login_again, choice, environment, context.name, cluster)
    _login(user, cluster, whose)  # what is wrong with it is told at once
    return Access(
        context.name,
        choice.namespace or str(fields.get("namespace") or "default"),
        cluster,
        choose_proxy(cluster.server, cluster.proxy_url, f'the cluster "{cluster.name}"', environment),
        read_impersonation(user.fields, choice, whose),
        again,
    )


def context_name(choice: ClusterChoice, environment: Mapping[str, str] = os.environ) -> str:
    """The name alone of the context that `load_access` would use; raises what it raises for want of one."""
    kubeconfig = read_kubeconfig(choice, environment)
    if _account(kubeconfig, choice, environment, DIRECTORY) is not None:
        return CONTEXT
    return _context(kubeconfig, choice.context).name


def read_kubeconfig(choice: ClusterChoice, environment: Mapping[str, str]) -> Kubeconfig:
    """The files that are there; of several, one may be missing. NamedObjectMissing for `--kubeconfig`'s."""
    paths = choice.kubeconfig or environment.get("KUBECONFIG") or "~/.kube/config"
    places = [paths] if choice.kubeconfig else [path for path in paths.split(os.pathsep) if path]
    files: list[tuple[str, Mapping[str, Any]]] = []
    for place in places:
        path = os.path.expanduser(place)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            if choice.kubeconfig is not None:
                raise NamedObjectMissing(f"there is no kubeconfig {place}") from None
            continue
        except (OSError, ValueError) as error:
            raise _unreadable(place, error) from error
        files.append((os.path.dirname(os.path.abspath(path)), _parse(place, text)))
    current = next((str(name) for _, file in files if (name := file.get("current-context"))), None)
    merged = (_merge(section, files, paths) for section in SECTIONS)
    return Kubeconfig(paths, current, *merged)


def _account(
    kubeconfig: Kubeconfig, choice: ClusterChoice, environment: Mapping[str, str], directory: Path
) -> ServiceAccount | None:
    """The pod's, where nothing else was named; ClusterUnreachable when there is nothing at all."""
    if kubeconfig.contexts or choice.kubeconfig is not None or choice.context not in (None, CONTEXT):
        return None
    account = find_service_account(environment, directory)
    if account is None:
        raise ClusterUnreachable(
            f"there is no kubeconfig {kubeconfig.paths}, or no context in it: "
            "name another by --kubeconfig or KUBECONFIG"
        )
    return account


def _context(kubeconfig: Kubeconfig, wanted: str | None) -> Entry:
    """The context of that name, else the current one; NamedObjectMissing."""
    name = wanted or kubeconfig.current
    if name is None:
        raise NamedObjectMissing(
            f"the kubeconfig {kubeconfig.paths} has no current context: name one with --context"
        )
    return _named(kubeconfig.contexts, name, "context", f"kubeconfig {kubeconfig.paths}")


def _named(entries: Mapping[str, Entry], name: Any, kind: str, where: str) -> Entry:
    if str(name) not in entries:
        place = f"the {where}" if kind == "context" else f'the kubeconfig, though context "{where}" names it'
        raise NamedObjectMissing(
            f'there is no {kind} "{name}" in {place}' + suggestion(str(name), entries, f"{kind}s")
        )
    return entries[str(name)]


def _user(kubeconfig: Kubeconfig, context: Entry) -> Entry:
    """A context without a user is somebody unknown, which some servers serve."""
    name = context.fields.get("user")
    return _named(kubeconfig.users, name, "user", context.name) if name else Entry("", {})


def _login(user: Entry, cluster: ClusterEntry, whose: str) -> Login:
    if not cluster.is_encrypted:
        return Login()  # secrets are not sent for all to read
    plugin, provider = user.fields.get("exec"), user.fields.get("auth-provider")
    if plugin and provider:
        raise PreconditionFailed(f"{whose} has both exec and auth-provider: remove the latter")
    return Login(
        read_user(user, whose),
        read_plugin(plugin, user.directory, whose, cluster) if plugin else None,
        read_provider(provider, whose) if provider else None,
    )


def _read_login_again(
    choice: ClusterChoice, environment: Mapping[str, str], context: str, cluster: ClusterEntry
) -> Login:
    """Of the context that was chosen, also if another has become the current one since."""
    kubeconfig = read_kubeconfig(choice, environment)
    user = _user(kubeconfig, _context(kubeconfig, context))
    return _login(user, cluster, f'the user of context "{context}"')


def _access_in_pod(account: ServiceAccount, choice: ClusterChoice, environment: Mapping[str, str]) -> Access:
    return Access(
        CONTEXT,
        choice.namespace or account.namespace,
        account.cluster,
        choose_proxy(account.cluster.server, "", CONTEXT, environment),
        read_impersonation({}, choice, "the service account"),
        lambda: Login(account.user),
    )


def _parse(place: str, text: str) -> Mapping[str, Any]:
    """An empty file says nothing, and is none the worse for it."""
    try:
        content = load_library().parse_yaml(text)
    except Exception as error:  # YAML's errors, and whatever else a broken file provokes
        raise _unreadable(place, error) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise PreconditionFailed(f"the kubeconfig {place} cannot be read: it is no mapping")
    return content


def _merge(section: str, files: list[tuple[str, Mapping[str, Any]]], paths: str) -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    inner = section.removesuffix("s")
    for directory, file in files:
        entries = file.get(section) or []
        if not isinstance(entries, list):
            raise PreconditionFailed(f"the kubeconfig {paths} cannot be read: {section} is no list")
        for one in entries:
            fields = one.get(inner) or {} if isinstance(one, dict) else None
            if not isinstance(fields, dict) or "name" not in one:
                raise PreconditionFailed(
                    f"the kubeconfig {paths} cannot be read: each of {section} must have name and {inner}"
                )
            name = str(one["name"])
            found.setdefault(name, Entry(name, fields, directory))
    return found


def _unreadable(place: str, error: Exception) -> PreconditionFailed:
    """Where it is broken, but none of its lines: they may hold secrets."""
    mark = getattr(error, "problem_mark", None)
    cause = getattr(error, "problem", None) or getattr(error, "strerror", None) or "it is no YAML"
    line = f" in line {mark.line + 1}" if mark is not None else ""
    return PreconditionFailed(f"the kubeconfig {place} cannot be read: {cause}{line}")
