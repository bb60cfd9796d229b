"""Standard streams that somebody has closed, or that take no more."""

from __future__ import annotations

import errno
import os
import sys

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def open_missing_streams() -> None:
    """Put /dev/null where 0, 1 or 2 is closed, else a socket or log of ours would get that number.

    So a child writes nothing of its own into them either.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number, and all lower ones are open
            os.set_inheritable(opened, True)
            setattr(sys, name, os.fdopen(opened, mode, closefd=False))


def output_trouble(error: Exception) -> str | None:
    """Why standard output took no more, if that is what the error tells; what remains of it is dropped."""
    if not isinstance(error, OSError) or error.errno not in _FULL or error.filename is not None:
        return None
    drop_output()
    return f"standard output cannot be written ({error.strerror})"


def drop_output() -> None:
    """Send what is still unwritten nowhere, so that leaving does not fail for it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
