"""A supervisor who listens, and hands the socket on to one worker after the other, as systemd does
(sd_listen_fds(3)). A worker that ends well is followed by the next one; SIGTERM ends both.

handing_on.py PORT COMMAND...
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

FIRST = 3
"""The number of the socket that a worker looks for."""
HANDED = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'


def main(port: int, command: list[str]) -> None:
    listening = socket.create_server(("", port))
    os.dup2(listening.fileno(), FIRST)
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: terminated.append(number))
    worker = None
    while not terminated and (worker is None or worker.returncode == 0):
        worker = subprocess.Popen(["sh", "-c", HANDED, "sh", *command], pass_fds=[FIRST])
        while worker.poll() is None:
            if terminated:
                worker.terminate()
            signal.sigtimedwait([signal.SIGCHLD], 0.2)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
