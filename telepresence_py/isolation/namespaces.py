"""Leaves the laptop's namespaces, first of all for a user namespace in which we may do the rest."""

from __future__ import annotations

import os
import socket

from telepresence_py.isolation.steps import Step, taking
from telepresence_py.process import kernel


def enter_user_namespace() -> None:
    """A user namespace in which we are who we are, with every capability until we exec.

    A plain user's namespace maps that user and group alone: other owners show as nobody, and setgroups is
    refused. Root's maps every id that there is to itself, so that root inside still reads and writes other
    users' files; where the kernel refuses that, root alone. The process must have a single thread.
    """
    uid, gid = os.geteuid(), os.getegid()
    mapper = _Mapper() if uid == 0 else None
    try:
        with taking(Step.USER_NAMESPACE):
            kernel.unshare(kernel.CLONE_NEWUSER)
    except BaseException:
        if mapper is not None:
            mapper.end(False)
        raise
    if mapper is not None and mapper.end(True):
        return
    with taking(Step.ID_MAP):
        kernel.write_setting("/proc/self/setgroups", "deny")
        kernel.write_setting("/proc/self/uid_map", f"{uid} {uid} 1")
        kernel.write_setting("/proc/self/gid_map", f"{gid} {gid} 1")


def enter_made_namespace(descriptor: int) -> None:
    """The user namespace of that descriptor, which is closed, in which we are root: its owner is who we are
    outside."""
    with taking(Step.PODMAN):
        kernel.setns(descriptor, kernel.CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    os.close(descriptor)


def enter_other_namespaces(hostname: str, processes: bool = True) -> None:
    """Network, mounts and host name of our own; our next child is the first of a new process namespace,
    unless there shall be none."""
    kinds = kernel.CLONE_NEWNET | kernel.CLONE_NEWNS | kernel.CLONE_NEWUTS
    with taking(Step.NAMESPACES):
        kernel.unshare(kinds | (kernel.CLONE_NEWPID if processes else 0))
    with taking(Step.HOST_NAME):
        socket.sethostname(hostname)


class _Mapper:
    """A child that stays behind in root's namespace: only from there may one map more than one id."""

    def __init__(self) -> None:
        listening, self._asking = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._asking)
            status = 1
            try:
                if os.read(listening, 1):
                    for kind in ("gid_map", "uid_map"):
                        with open(f"/proc/self/{kind}") as own_map:
                            rows = _every_id(own_map.read())
                        kernel.write_setting(f"/proc/{parent}/{kind}", rows)
                    status = 0
            finally:
                os._exit(status)
        os.close(listening)

    def end(self, is_wanted: bool) -> bool:
        """Have it map, if wanted, and end; whether it did."""
        if is_wanted:
            os.write(self._asking, b"!")
        os.close(self._asking)
        return os.waitpid(self._pid, 0)[1] == 0


def _every_id(own_map: str) -> str:
    """The map that gives every id of this one (uid_map or gid_map) to itself."""
    rows = (line.split() for line in own_map.splitlines())
    return "".join(f"{first} {first} {count}\n" for first, _outside, count in rows)
