"""A kernel that keeps user namespaces from plain users, as AppArmor's restriction and Debian's old sysctl do.

Whoever makes a user namespace is looked at: who has CAP_SYS_ADMIN (root's programs, and those that sudo gave
it) may, all others are refused with EPERM.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from integration.support.cluster import ROOT
from telepresence_py.process.kernel import CLONE_NEWUSER
from telepresence_py.process.seccomp import (
    ALLOW,
    ASK,
    CLONE3,
    answer,
    install,
    let_go_on,
    machine,
    receive,
    refuse,
    return_value,
    when_architecture,
    when_argument_has,
    when_number,
)

_CAP_SYS_ADMIN = 1 << 21
_PROGRAM = f"import sys; sys.path.insert(0, sys.argv.pop(1)); from {__name__} import main; main()"


def where_refused(uid: int, gid: int, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` as that user on such a kernel. To be run as root, so that the
    command may still gain rights by sudo."""
    return [sys.executable, "-c", _PROGRAM, str(ROOT), str(uid), str(gid), *command]


def main() -> None:
    uid, gid, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _become(uid, gid, command, theirs)
    theirs.close()
    _data, (listener,), _flags, _address = socket.recv_fds(ours, 1, 1)
    threading.Thread(target=_judge, args=(listener,), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(pid, received))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256)


def _become(uid: int, gid: int, command: list[str], line: socket.socket) -> NoReturn:
    calls = machine()
    judged = [*when_argument_has(0, CLONE_NEWUSER, answer(ASK)), *answer(ALLOW)]
    new = [
        *when_number(calls.unshare, judged),
        *when_number(calls.clone, judged),
        *when_number(CLONE3, answer(refuse(errno.ENOSYS))),  # its flags are in memory: then clone is used
    ]
    listener = install([*when_architecture(calls.audit, [*new, *answer(ALLOW)]), *answer(ALLOW)])
    socket.send_fds(line, [b"!"], [listener])
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.execvp(command[0], command)


def _judge(listener: int) -> None:
    while (question := receive(listener)) is not None:
        status = Path(f"/proc/{question.thread}/status").read_text()
        found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
        if found and int(found[1], 16) & _CAP_SYS_ADMIN:
            let_go_on(listener, question)
        else:
            return_value(listener, question, -errno.EPERM)
