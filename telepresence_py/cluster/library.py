"""The light part of the `kubernetes` library: configuration and connections; none of its models.

Importing `kubernetes.client` the usual way may run over a thousand generated modules, about a second. What is
needed here stands in a handful of leaf modules. So for the duration of one import the packages above them are
empty stand-ins with the true search path; afterwards every trace leaves `sys.modules`, and whoever imports
`kubernetes` later gets it whole, apart from our copy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from telepresence_py.cluster.light import light_imports

PACKAGE = "kubernetes"
STAND_INS = ("kubernetes.client", "kubernetes.utils")


@dataclass(frozen=True)
class Library:
    """`configuration` makes the settings, `connections` a `.pool_manager` of urllib3 from them.

    `parse_yaml` reads a kubeconfig's text.
    """

    configuration: type[Any]
    connections: type[Any]
    parse_yaml: Callable[[str], Any]


@cache
def load_library() -> Library:
    """The library's light part; a whole one that was imported before is used as it is."""
    if f"{PACKAGE}.client" in sys.modules:
        return _gather()
    with light_imports(), _stand_ins():
        return _gather()


def _gather() -> Library:
    settings = import_module("kubernetes.client.configuration")
    client = sys.modules["kubernetes.client"]
    client.Configuration = settings.Configuration  # type: ignore[attr-defined]
    rest = import_module("kubernetes.client.rest")
    yaml = import_module("yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Library(
        configuration=settings.Configuration,
        connections=rest.RESTClientObject,
        parse_yaml=partial(yaml.load, Loader=loader),
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
