"""Makes files in a volume that no client has seen: python3 fill.py TOP NAME SMALL LARGE

TOP/NAME/small has so many small files, 100 in each directory; TOP/NAME/large is one of so many bytes. What
else stands in TOP goes.
"""

from __future__ import annotations

import os
import shutil
import sys

IN_DIRECTORY = 100
SMALL_SIZE = 1000


def main(top: str, name: str, small: int, large: int) -> None:
    for other in os.listdir(top):
        shutil.rmtree(os.path.join(top, other))
    for number in range(small):
        directory = os.path.join(top, name, "small", f"{number // IN_DIRECTORY:02}")
        os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, f"{number % IN_DIRECTORY:02}"), "wb") as file:
            file.write(os.urandom(SMALL_SIZE))  # nobody shall gain by compression
    with open(os.path.join(top, name, "large"), "wb") as file:
        while rest := large - file.tell():
            file.write(os.urandom(min(rest, 1 << 20)))
        file.flush()
        os.fsync(file.fileno())  # or the disk would be busy with it while it is read


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
