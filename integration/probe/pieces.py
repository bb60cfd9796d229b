"""A file of a volume that is written and one that is read, piece by piece, when the test says so.

    pieces.py fill PATH COUNT       a file of that many pieces
    pieces.py serve WRITTEN READ    lines on stdin: `write FIRST END` (and fsync), `read FIRST END`; each is
                                    done beside the others, and told when it is over: `write 0 64 ok`.
                                    First of all `ready` is said

SIGTERM is ignored: what becomes of a call that waits is to be told.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable

PIECE = 64 << 10


def piece(number: int) -> bytes:
    return number.to_bytes(4, "big") * (PIECE // 4)


def fill(path: str, count: str) -> None:
    with open(path, "wb") as file:
        for number in range(int(count)):
            file.write(piece(number))


def write(descriptor: int, first: int, end: int) -> str:
    for number in range(first, end):
        if os.pwrite(descriptor, piece(number), number * PIECE) != PIECE:
            return "short"
    os.fsync(descriptor)
    return "ok"


def read(descriptor: int, first: int, end: int) -> str:
    for number in range(first, end):
        if os.pread(descriptor, PIECE, number * PIECE) != piece(number):
            return f"wrong at {number}"
    return "ok"


def serve(written: str, read_from: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    calls: dict[str, tuple[Callable[[int, int, int], str], int]] = {
        "write": (write, os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)),
        "read": (read, os.open(read_from, os.O_RDONLY)),
    }
    one_line = threading.Lock()
    print("ready", flush=True)

    def do(word: str, first: str, end: str) -> None:
        call, descriptor = calls[word]
        try:
            said = call(descriptor, int(first), int(end))
        except OSError as error:
            said = errno.errorcode[error.errno or 0]
        with one_line:
            print(word, first, end, said, flush=True)

    for line in sys.stdin:
        threading.Thread(target=do, args=line.split(), daemon=True).start()
    os._exit(0)  # whatever still waits


if __name__ == "__main__":
    {"fill": fill, "serve": serve}[sys.argv[1]](*sys.argv[2:])
