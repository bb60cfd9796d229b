from __future__ import annotations

import os
import select
import socket

from telepresence_py.process.own_program import start_own_program


def test_a_program_has_the_descriptor_and_ends_by_kill() -> None:
    """The namespace agent serves as the program: it waits for its orders."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        program = start_own_program("telepresence_py.isolation.agent", theirs.fileno())
        theirs.close()
        assert os.getsid(program.pid) == program.pid
        assert not select.select([program.descriptor], [], [], 0)[0]
        program.kill()
        assert select.select([program.descriptor], [], [], 10)[0]
        program.kill()
        assert program.finish() == -9
        assert ours.recv(100) == b""


def test_a_program_that_ends_by_itself_tells_its_status() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.close()
        program = start_own_program("telepresence_py.isolation.agent", theirs.fileno())
    assert select.select([program.descriptor], [], [], 10)[0]
    assert program.finish() == 1
