"""asyncssh without what neither end uses of it: files, shells, terminals, X.509. That is 3 MB less in each
end, and a tenth of the time that the import takes."""

from __future__ import annotations

import ctypes.util
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

LIBRARY = "asyncssh"
LEFT_OUT = ("sftp", "scp", "process", "editor")
_X509 = "cryptography.x509"  # which asyncssh itself does without where it is not there


class _LeftOut(Exception):
    """In the place of whatever a module that was left out would have; an `except` may name it, too."""

    def __class_getitem__(cls, _item: object) -> type[_LeftOut]:
        return cls

    def __init__(self, *_arguments: object, **_named: object) -> None:
        raise NotImplementedError(f"{LIBRARY} was loaded without {type(self).__name__}")


class _StandIn(ModuleType):
    """Has every name that is asked for."""

    def __getattr__(self, name: str) -> type[_LeftOut]:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (_LeftOut,), {})
        setattr(self, name, made)
        return made


def load_asyncssh() -> None:
    """So that a later `import asyncssh` takes what is here; nothing when it was imported already.

    A version that cannot do without is loaded whole. For use before there are threads.
    """
    if LIBRARY in sys.modules:
        return
    with _no_library_search(), _in_place(_X509, None), _in_place("typing_extensions", typing):
        sys.modules.update((name, _StandIn(name)) for name in _names())
        try:
            import_module(LIBRARY)
            return
        except Exception:  # noqa: BLE001 - whatever it is, the whole one has it or not
            for name in [name for name in sys.modules if name.partition(".")[0] == LIBRARY]:
                del sys.modules[name]
    with _no_library_search():
        import_module(LIBRARY)


def _names() -> list[str]:
    return [f"{LIBRARY}.{part}" for part in LEFT_OUT]


@contextmanager
def _in_place(name: str, module: ModuleType | None) -> Iterator[None]:
    """What is imported within the block finds that one by this name, or none, unless it is here already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def _no_library_search() -> Iterator[None]:
    """What is imported within the block finds no C library by its name: asyncssh searches some for algorithms
    that we never use, and ctypes.util.find_library runs ldconfig and ld for each."""
    search = ctypes.util.find_library
    ctypes.util.find_library = lambda name: None
    try:
        yield
    finally:
        ctypes.util.find_library = search
