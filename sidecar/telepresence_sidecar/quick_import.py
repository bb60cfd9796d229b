"""What makes imports of others cheaper, in time and memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OPENSSL = ("_ssl", "_hashlib")


@contextmanager
def without_openssl() -> Iterator[None]:
    """What is imported within the block takes this Python for one without OpenSSL: asyncio has no TLS then,
    and hashes are Python's own.

    The sidecar speaks SSH alone, and the cryptography for that brings an OpenSSL along: the system's would
    cost as much memory again.
    """
    hidden = [name for name in _OPENSSL if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
