"""What makes imports of others cheaper.

asyncssh searches C libraries for algorithms that we never use, and ctypes.util.find_library runs ldconfig and
ld for each: a tenth of the sidecar's start.
"""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_library_search() -> Iterator[None]:
    """What is imported within the block finds no C library by its name. For use before there are threads."""
    search = ctypes.util.find_library
    ctypes.util.find_library = lambda name: None
    try:
        yield
    finally:
        ctypes.util.find_library = search
