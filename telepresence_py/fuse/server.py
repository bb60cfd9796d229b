"""Serves one mount: calls are read from its /dev/fuse descriptor, and answered there.

A call that can be answered at once is, without a task; the others wait beside each other.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any

from telepresence_py.fuse.codec import (
    BUFFER,
    OPCODES,
    Call,
    Opcode,
    answer_init,
    decode_call,
    decode_handle,
    encode_answer,
)
from telepresence_py.fuse.volume import Volume

AT_ONCE = 64
"""Calls that are read before others of the loop have their turn."""

INTERRUPT_SECONDS = 2.0
"""A signal ends a call (EINTR) that has waited so much longer. Not at once: programs do not expect that of
files, and signals like SIGCHLD are many."""


class Server:
    """From now on, until `close`; the descriptor is ours. Closing it ends every call that waits for it."""

    def __init__(self, descriptor: int, volume: Volume) -> None:
        self._descriptor = descriptor
        self._volume = volume
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(BUFFER)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._closed = False
        answer = volume
        self._answers = {
            Opcode.LOOKUP: answer.lookup,
            Opcode.GETATTR: answer.getattr,
            Opcode.SETATTR: answer.setattr,
            Opcode.READLINK: answer.readlink,
            Opcode.SYMLINK: answer.symlink,
            Opcode.MKNOD: answer.mknod,
            Opcode.MKDIR: answer.mkdir,
            Opcode.UNLINK: answer.unlink,
            Opcode.RMDIR: answer.rmdir,
            Opcode.RENAME: answer.rename,
            Opcode.RENAME2: answer.rename,
            Opcode.LINK: answer.link,
            Opcode.OPEN: answer.open,
            Opcode.CREATE: answer.create,
            Opcode.READ: answer.read,
            Opcode.WRITE: answer.write,
            Opcode.FLUSH: answer.flush,
            Opcode.FSYNC: answer.fsync,
            Opcode.RELEASE: answer.release,
            Opcode.OPENDIR: answer.opendir,
            Opcode.READDIRPLUS: answer.readdirplus,
            Opcode.RELEASEDIR: answer.releasedir,
            Opcode.FSYNCDIR: answer.fsyncdir,
            Opcode.ACCESS: answer.access,
            Opcode.STATFS: answer.statfs,
        }
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._readable)

    def close(self) -> None:
        """Idempotent. What a program still has to do there fails with ENOTCONN."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        for task in self._tasks.values():
            task.cancel()
        self._volume.close()

    def _readable(self) -> None:
        for _ in range(AT_ONCE):
            if self._closed:
                return
            try:
                os.readv(self._descriptor, [self._buffer])
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    self.close()
                    return
                continue  # ENOENT, EINTR: the call was taken back
            self._handle(decode_call(self._buffer))

    def _handle(self, call: Call) -> None:
        opcode = OPCODES.get(call.opcode)
        if opcode is Opcode.INIT:
            self._send(call, 0, answer_init(call.body))
        elif opcode in (Opcode.FORGET, Opcode.BATCH_FORGET):
            self._volume.forget(call)
        elif opcode is Opcode.INTERRUPT:
            self._interrupt(decode_handle(call.body))
        elif opcode is Opcode.DESTROY:
            pass
        elif opcode is None or opcode not in self._answers:
            self._send(call, errno.ENOSYS, b"")  # the kernel does without, or says EOPNOTSUPP
        else:
            self._begin(call, self._answer(call, self._answers[opcode](call)))

    def _begin(self, call: Call, answering: Coroutine[Any, Any, None]) -> None:
        """Run it to its first wait; only what waits becomes a task."""
        try:
            waits_for = answering.send(None)
        except StopIteration:
            return
        task = self._loop.create_task(_go_on(answering, waits_for))
        self._tasks[call.unique] = task
        task.add_done_callback(lambda _: self._tasks.pop(call.unique, None))

    async def _answer(self, call: Call, answering: Coroutine[Any, Any, bytes]) -> None:
        try:
            payload = await answering
        except OSError as error:
            self._send(call, error.errno or errno.EIO, b"")
        except asyncio.CancelledError:
            self._send(call, errno.EINTR, b"")
        except (ValueError, LookupError, ArithmeticError):  # a call as no kernel makes it
            self._send(call, errno.EIO, b"")
        else:
            self._send(call, 0, payload)

    def _interrupt(self, unique: int) -> None:
        task = self._tasks.get(unique)
        if task is not None:
            self._loop.call_later(INTERRUPT_SECONDS, task.cancel)

    def _send(self, call: Call, error: int, payload: bytes) -> None:
        if self._closed:
            return
        with suppress(OSError):  # ENOENT: the call was taken back; ENODEV: unmounted
            os.write(self._descriptor, encode_answer(call.unique, error, payload))


class _Rest:
    """A coroutine that has run to its first wait, to be awaited from there on."""

    def __init__(self, running: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._running = running
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                step = partial(self._running.throw, error)
            else:
                step = partial(self._running.send, sent)
            try:
                waits_for = step()
            except StopIteration:
                return


async def _go_on(running: Coroutine[Any, Any, None], waits_for: Any) -> None:
    await _Rest(running, waits_for)
