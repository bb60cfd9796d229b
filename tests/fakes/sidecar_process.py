"""The pod's program as a process on this host, and a plain TCP way to it instead of the API server's."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

from telepresence_sidecar.contract import FINGERPRINT_LOG_PREFIX, SidecarConfig

SOURCES = Path(__file__).parents[2] / "sidecar"


_PORTS_EACH = 2000
_ports = count(12_000 + _PORTS_EACH * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]))


def free_port() -> int:
    """One that nobody gets meanwhile: below those that the kernel gives away, and of this worker's own."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable")


@dataclass
class SidecarProcess:
    """`log` goes on to be readable; `fingerprint` is what it told, `began` the lines before that."""

    config: SidecarConfig
    process: subprocess.Popen[str]
    log: IO[str]
    fingerprint: str
    began: tuple[str, ...] = ()

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(factory, "127.0.0.1", self.config.tunnel_port))[1]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> tuple[int, str]:
        """Exit code, and the rest of the log."""
        rest = self.log.read()
        return self.process.wait(10), rest


@contextmanager
def sidecar_process(client_key: str, grace: float = 10.0) -> Iterator[SidecarProcess]:
    """Runs until the block ends, or until it ends by itself."""
    config = SidecarConfig(
        session="s-1",
        holder="joe@laptop",
        client_key=client_key,
        ports=(free_port(),),
        tunnel_port=free_port(),
        health_port=free_port(),
        grace=grace,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "telepresence_sidecar", config.to_argument()],
        env={**os.environ, "PYTHONPATH": str(SOURCES), "GIVEN": "by the pod"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            fingerprint, began = "", []
            for line in process.stdout:
                if line.startswith(FINGERPRINT_LOG_PREFIX):
                    fingerprint = line.removeprefix(FINGERPRINT_LOG_PREFIX).strip()
                    break
                began.append(line.strip())
            yield SidecarProcess(config, process, process.stdout, fingerprint, tuple(began))
        finally:
            process.kill()
