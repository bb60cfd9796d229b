"""picows without the ways through SOCKS proxies, unless there is one: a third of a megabyte."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["WSError", "WSFrame", "WSHandshakeError", "WSListener", "WSMsgType", "WSTransport", "ws_connect"]

_SOCKS = "python_socks.async_.asyncio"


class _Proxy:
    """Of python_socks' class what picows uses."""

    @staticmethod
    def from_url(url: str, **options: Any) -> Any:
        from python_socks.async_.asyncio import Proxy

        return Proxy.from_url(url, **options)


_stand_in = None
if _SOCKS not in sys.modules:
    _stand_in = ModuleType(_SOCKS)
    _stand_in.Proxy = _Proxy  # type: ignore[attr-defined]
    sys.modules[_SOCKS] = _stand_in
try:
    from picows import (
        WSError,
        WSFrame,
        WSHandshakeError,
        WSListener,
        WSMsgType,
        WSTransport,
        ws_connect,
    )
finally:
    if _stand_in is not None:
        del sys.modules[_SOCKS]
