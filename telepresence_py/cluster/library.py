"""The light part of the `kubernetes` library: configuration, connections, kubeconfig; none of its models.

Importing `kubernetes.client` the usual way may run over a thousand generated modules, about a second. What is
needed here stands in a handful of leaf modules. So for the duration of one import the packages above them are
empty stand-ins with the true search path; afterwards every trace leaves `sys.modules`, and whoever imports
`kubernetes` later gets it whole, apart from our copy.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

PACKAGE = "kubernetes"
STAND_INS = ("kubernetes.client", "kubernetes.config", "kubernetes.utils")


@dataclass(frozen=True)
class Library:
    """`configuration` makes the settings, `connections` a `.pool_manager` of urllib3 from them.

    `load_kube_config` fills settings; `merge` reads one or several kubeconfig files; `config_error` is what
    both raise.
    """

    configuration: type[Any]
    connections: type[Any]
    load_kube_config: Any
    merge: type[Any]
    config_error: type[Exception]


@cache
def load_library() -> Library:
    """The library's light part; a whole one that was imported before is used as it is."""
    if f"{PACKAGE}.client" in sys.modules:
        return _gather()
    with _stand_ins():
        return _gather()


def _gather() -> Library:
    settings = import_module("kubernetes.client.configuration")
    client = sys.modules["kubernetes.client"]
    client.Configuration = settings.Configuration  # type: ignore[attr-defined]
    rest = import_module("kubernetes.client.rest")
    kube_config = import_module("kubernetes.config.kube_config")
    return Library(
        configuration=settings.Configuration,
        connections=rest.RESTClientObject,
        load_kube_config=kube_config.load_kube_config,
        merge=kube_config.KubeConfigMerger,
        config_error=kube_config.ConfigException,
    )


@contextmanager
def _stand_ins() -> Iterator[None]:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the kubernetes library is not installed", name=PACKAGE)
    roots = list(spec.submodule_search_locations)
    before = {name: module for name, module in sys.modules.items() if _is_library(name)}
    sys.modules[PACKAGE] = _package(PACKAGE, roots)
    for name in STAND_INS:
        sys.modules[name] = _package(name, [f"{root}/{name.rpartition('.')[2]}" for root in roots])
    # kube_config imports this name at its top and uses it only in functions that are not called here
    sys.modules["kubernetes.client"].ApiClient = object  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_library(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _package(name: str, path: list[str]) -> ModuleType:
    package = ModuleType(name)
    package.__path__ = path
    package.__spec__ = ModuleSpec(name, None, is_package=True)
    return package


def _is_library(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")
