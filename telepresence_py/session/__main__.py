"""`python -m telepresence_py.session FD`: the session process; FD is its end of the door.

Started by the CLI in a session (setsid) of its own, so that a SIGKILL of the CLI's process group leaves it
alive to restore. Its standard error is the session's log.
"""

from __future__ import annotations

import linecache
import logging
import resource
import signal
import socket
import sys
import traceback
from functools import partial

from telepresence_sidecar.late import SELDOM_USED, put_off

put_off(SELDOM_USED)  # before trio asks for them

import trio  # noqa: E402

from telepresence_py import system  # noqa: E402
from telepresence_py.model.door import Ended, Failed, Run, Swap  # noqa: E402
from telepresence_py.model.errors import InternalError, TelepresenceError  # noqa: E402
from telepresence_py.process.kernel import settle_heap  # noqa: E402
from telepresence_py.session.door import CliGone, Door, open_door  # noqa: E402
from telepresence_py.tunnel import bridge  # noqa: E402

_log = logging.getLogger("telepresence_py.session")
_OPEN_MAX = 10240


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    settle_heap()
    linecache.clearcache()  # attrs, which trio uses, keeps the source of all that it makes there
    _raise_descriptor_limit()
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)  # a program that we start must not keep the door open
    bridge.run(partial(_serve, sock))


def _raise_descriptor_limit() -> None:
    """Each relayed connection is one descriptor; soft limits of 1024 are for programs that use select(2)."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not system.LINUX:
        # macOS says "infinite" and means its OPEN_MAX, see getrlimit(2) there
        hard = _OPEN_MAX if hard == resource.RLIM_INFINITY else min(hard, _OPEN_MAX)
        hard = max(hard, _soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(sock: socket.socket) -> None:
    async with open_door(sock) as door:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, door)
                nursery.start_soon(door.watch_for_stop)
                await _play(door)
                nursery.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - whatever it is, the CLI must be told
            door.post(verdict(error))
        else:
            door.post(Ended())


async def _play(door: Door) -> None:
    """Only the story that is played stays in memory."""
    match await door.opening():
        case Swap(intent):
            from telepresence_py.session.swap import swap

            await swap(door, intent)
        case Run(intent):
            from telepresence_py.session.run import run

            await run(door, intent)


async def _stop_on_signal(door: Door) -> None:
    """A SIGTERM to this process alone (a logout, an administrator) ends the session in good order."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            await door.stop(signal.Signals(number).name)


def verdict(error: Exception) -> Failed | Ended:
    """What the CLI is told: of several errors at once the first that has a sentence of its own.

    That the CLI wanted the end is no error.
    """
    leaves = _leaves(error)
    if all(isinstance(leaf, CliGone) for leaf in leaves):
        _log.info("ended: %s", leaves[0])
        return Ended()
    text = "".join(traceback.format_exception(error))
    _log.error("%s", text)
    for leaf in leaves:
        if isinstance(leaf, TelepresenceError):
            return Failed.of(leaf, text)
    leaf = next(leaf for leaf in leaves if not isinstance(leaf, CliGone))
    sentence = f"the session failed by a bug ({type(leaf).__name__}: {leaf}); run again with --debug"
    return Failed.of(InternalError(sentence), text)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


if __name__ == "__main__":
    main()
