"""urllib3 without what it and the `kubernetes` library import and we do not need: 2 MB of memory.

Each of these modules is wanted for one name. Within `light_imports` a stand-in has that name; afterwards the
true module is there for whoever imports it.
"""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["light_imports", "urllib3"]


@contextmanager
def light_imports() -> Iterator[None]:
    """For the length of one import."""
    metadata = ModuleType("importlib.metadata")
    metadata.version = _version  # type: ignore[attr-defined]
    multiprocessing = ModuleType("multiprocessing")
    multiprocessing.cpu_count = os.cpu_count  # type: ignore[attr-defined]
    request = ModuleType("urllib.request")
    request.getproxies = dict  # type: ignore[attr-defined]  # which proxy, we have decided already
    stand_ins = {
        "urllib.request": request,
        "importlib.metadata": metadata,
        "multiprocessing": multiprocessing,
        "typing_extensions": typing,  # which has all of it that Python 3.11 is asked for
    }
    put = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(put)
    try:
        yield
    finally:
        for name in put:
            del sys.modules[name]


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


with light_imports():
    import urllib3
    import urllib3.exceptions
