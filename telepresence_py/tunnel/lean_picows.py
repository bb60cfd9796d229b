"""picows without the ways through SOCKS proxies, unless there is one: a third of a megabyte."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

LIBRARY = "picows"
_SOCKS = "python_socks.async_.asyncio"


class _Proxy:
    """Of python_socks' class what picows uses."""

    @staticmethod
    def from_url(url: str, **options: Any) -> Any:
        from python_socks.async_.asyncio import Proxy

        return Proxy.from_url(url, **options)


def load_picows() -> None:
    """So that a later `import picows` takes what is here; nothing when it, or SOCKS, was imported already."""
    if _SOCKS in sys.modules:
        return
    stand_in = ModuleType(_SOCKS)
    stand_in.Proxy = _Proxy  # type: ignore[attr-defined]
    sys.modules[_SOCKS] = stand_in
    try:
        import_module(LIBRARY)
    finally:
        del sys.modules[_SOCKS]
