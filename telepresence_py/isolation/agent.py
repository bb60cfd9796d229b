"""The program that makes the namespaces and lives in them: `python -I -m telepresence_py.isolation.agent FD`,
with `raised` behind it when it was started by another program than the session, or `first` when that program
has put it into a process namespace already, as its first process.

FD is its end of a sequenced-packet socket to the session process, or the path at which it is handed that
(`meeting`); `messages` has what is said on it. Once it
has left the laptop's namespaces it puts the agent proper beside itself and ends: that one is the first
process of the child's process namespace (`first_process`), makes sockets on demand and cleans up. When the
session process ends, or closes its end, it kills all others in its namespace. A program that was raised stays
above it until it ends, as somebody has to wait for it; one that is first is the agent proper itself.

Standard library only, and little of it: starting takes as long as the imports, and they stay in memory. Never
waits on anything of the child's.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from telepresence_py.isolation import diagnosis, graft, mounts, network
from telepresence_py.isolation.first_process import be_first, become_first, end_others, mount_proc, wait_for
from telepresence_py.isolation.meeting import fetch_control
from telepresence_py.isolation.messages import (
    MOST_DESCRIPTORS,
    Born,
    Broken,
    Handed,
    Ready,
    Refused,
    decode_view,
    encode,
    requested_family,
)
from telepresence_py.isolation.names import LAPTOP_RESOLVERS
from telepresence_py.isolation.namespaces import (
    enter_made_namespace,
    enter_other_namespaces,
    enter_user_namespace,
)
from telepresence_py.isolation.placeholders import Placeholders
from telepresence_py.isolation.steps import Refusal, Step, StepRefused, taking
from telepresence_py.model.world import FILE_MODE, NetworkView
from telepresence_py.process.kernel import read_signals, signalfd

_END_SECONDS = 3.0
_NAMESPACES = ("user", "net", "mnt", "uts", "pid")


def run(control: socket.socket, is_raised: bool = False, is_first: bool = False) -> NoReturn:
    """The agent's whole life, in a process of its own with a single thread; arguments as the module says."""
    placeholders = Placeholders()
    status = 1
    try:
        os.umask(0o022)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
        ended = signalfd([signal.SIGTERM])
        _set_up(control, *_receive_view(control), placeholders, is_raised, is_first)
        _serve(control, ended)
        if not is_first:  # whose end is that of all others, of other users' too
            end_others(_END_SECONDS)
        status = 0
    except StepRefused as refused:
        _say(control, encode(Refused(refused.refusal)))
    except BaseException:  # noqa: BLE001 the session process tells the user
        import traceback

        _say(control, encode(Broken(traceback.format_exc()[-8000:])))
    finally:
        placeholders.remove()
        os._exit(status)


def _say(control: socket.socket, packet: bytes) -> None:
    with suppress(OSError):
        control.send(packet)


def _receive_view(control: socket.socket) -> tuple[NetworkView, int | None]:
    """And the user namespace to be entered, where there is one already."""
    _packet, (fd, *made), _flags, _address = socket.recv_fds(control, 16, 2)
    with open(fd, "rb") as file:
        file.seek(0)
        return decode_view(file.read()), made[0] if made else None


def _set_up(
    control: socket.socket,
    view: NetworkView,
    made: int | None,
    placeholders: Placeholders,
    is_raised: bool,
    is_first: bool,
) -> None:
    """Make everything and hand it out; `made` is a user namespace. Only the first process returns."""
    # opened before anything is mounted over /proc, and still the laptop's: namespaces by pid are found in it
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    targets, contents = graft.targets_of(view), {**view.files, **view.volume_files}
    found = mounts.find(target.path for target in targets)
    hidden = () if view.container else LAPTOP_RESOLVERS
    plan = graft.plan(targets, found, mounts.existing_directories(hidden))

    if made is None:
        enter_user_namespace()
    else:
        enter_made_namespace(made)
    enter_other_namespaces(view.hostname, processes=not is_first)
    if is_first:
        with taking(Step.INIT):
            be_first()
        _say(control, encode(Born(0)))
    else:
        _go_on_as_first(control, is_raised)
    sockets, notices = network.bring_up(view.addresses, view.helper_ports, view.held, view.redirected)
    diagnoses = diagnosis.open_wire()
    if diagnoses is not None:
        sockets.append(("diagnosis", diagnoses))
    with taking(Step.MOUNTS):
        volumes = mounts.carry_out(
            plan,
            {path: (contents[path], view.file_modes.get(path, FILE_MODE)) for path in plan.files},
            placeholders,
            lambda path, descriptor: _hand_out(control, [(f"live:{path}", descriptor)]),
        )
    # a container tool stays outside of the process namespace, and mounts a /proc for its container itself
    if not view.container and (notice := mount_proc()):
        notices.append(notice)

    named = [(name, each.detach()) for name, each in sockets]
    named += [(f"volume:{path}", fd) for path, fd in volumes.items()]
    named += [(f"namespace:{kind}", _open_at(proc, f"self/ns/{kind}")) for kind in _NAMESPACES]
    named.append(("network-tables", os.open("self/net", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)))
    _hand_out(control, named)
    os.close(proc)
    control.send(encode(Ready((*plan.notices, *notices))))


def _go_on_as_first(control: socket.socket, is_raised: bool) -> None:
    """Returns in the first process alone."""
    with taking(Step.INIT):
        first = become_first(lambda pid: _say(control, encode(Born(pid))), beside_us=not is_raised)
    if first:
        control.close()
        os._exit(wait_for(first) if is_raised else 0)


def _open_at(directory: int, path: str) -> int:
    return os.open(path, os.O_RDONLY, dir_fd=directory)


def _hand_out(control: socket.socket, named: Sequence[tuple[str, int]]) -> None:
    for start in range(0, len(named), MOST_DESCRIPTORS):
        part = named[start : start + MOST_DESCRIPTORS]
        packet = encode(Handed(tuple(name for name, _fd in part)))
        socket.send_fds(control, [packet], [fd for _name, fd in part])
        for _name, fd in part:
            os.close(fd)


def _serve(control: socket.socket, ended: int) -> None:
    """Answer requests until the session, or somebody else outside by SIGTERM, makes an end."""
    poll = select.poll()
    for fd in (control.fileno(), ended):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _event in poll.poll()}
        # of a sender in another process namespace there is no pid: those inside may not end us
        if ended in ready and any(received.sender_pid == 0 for received in read_signals(ended)):
            return
        if control.fileno() in ready:
            request = control.recv(64)
            if not request:
                return
            _answer(control, requested_family(request))


def _answer(control: socket.socket, family: int) -> None:
    try:
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as born_inside:
            socket.send_fds(control, [encode(Handed(("socket",)))], [born_inside.fileno()])
    except OSError as error:
        refusal = Refusal(Step.LISTENERS, error.errno or 0, error.strerror or str(error))
        _say(control, encode(Refused(refusal)))


if __name__ == "__main__":
    where, how = sys.argv[1], sys.argv[2:]
    own_end = socket.socket(fileno=int(where)) if where.isdecimal() else fetch_control(where)
    run(own_end, is_raised=how == ["raised"], is_first=how == ["first"])
