"""A link that can be slow, cut, dead or closed, before an API server or anything else that speaks TCP.

    with Link(("198.51.100.11", 6443)) as link:
        link.delay(50)
        kubectl("--kubeconfig", link.kubeconfig(content))

It is a process of its own (`relay`), so that what it costs is not counted as anybody else's.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]


class LinkFailed(AssertionError):
    """The process did not do what it was told."""


class Link:
    """Started by `with`, gone with it; it ends also when we are killed. Connections arrive at `port` on
    127.0.0.1 and go on to `target`.

    Every method returns once it holds for all bytes from then on. While it stalls, connections stay open, and
    new ones are taken by the kernel, but nothing comes through; `go` ends that and no byte was lost.
    """

    port: int

    def __init__(self, target: tuple[str, int], port: int = 0) -> None:
        self._target, self.port = target, port
        self._process: subprocess.Popen[str]
        self._directory: tempfile.TemporaryDirectory[str]

    @classmethod
    def before_server(cls, kubeconfig: dict[str, Any]) -> Link:
        """To the server of the first cluster in that kubeconfig."""
        url = urlsplit(kubeconfig["clusters"][0]["cluster"]["server"])
        assert url.hostname is not None
        return cls((url.hostname, url.port or 443))

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="telepresence-py-link-")
        host, port = self._target
        self._process = subprocess.Popen(
            [sys.executable, "-m", "integration.support.link", str(self.port), f"{host}:{port}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        said = self._read().split()
        if said[:1] != ["listening"]:
            raise LinkFailed(f"the link said {' '.join(said)!r} instead of where it listens")
        self.port = int(said[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._directory.cleanup()

    @property
    def pid(self) -> int:
        return self._process.pid

    def delay(self, milliseconds: float) -> None:
        """A round trip takes so much longer from now on."""
        self._order(f"delay {milliseconds:g}")

    def cut(self) -> None:
        """Every connection ends with a reset on both sides; what was on the way is lost."""
        self._order("cut")

    def stall(self) -> None:
        """Nothing more is read or written, as in a black hole."""
        self._order("stall")

    def go(self) -> None:
        """The end of `stall`."""
        self._order("go")

    def strand(self) -> None:
        """The connections that stand are a black hole for good; those that come later are not."""
        self._order("strand")

    def refuse(self) -> None:
        """New connections are refused; those that stand live on."""
        self._order("refuse")

    def accept(self) -> None:
        """The end of `refuse`, on the same port."""
        self._order("accept")

    def through(self, kubeconfig: dict[str, Any]) -> dict[str, Any]:
        """The same kubeconfig, its first cluster by this link; the certificate is still checked."""
        content: dict[str, Any] = json.loads(json.dumps(kubeconfig))
        entry = content["clusters"][0]["cluster"]
        url = urlsplit(entry["server"])
        entry["server"] = f"{url.scheme}://127.0.0.1:{self.port}{url.path}"
        if url.scheme == "https" and not entry.get("insecure-skip-tls-verify"):
            entry.setdefault("tls-server-name", url.hostname)
        return content

    def kubeconfig(self, kubeconfig: dict[str, Any]) -> str:
        """The path of a file with `through(kubeconfig)`, for the caller alone; gone with the link."""
        number = len(list(Path(self._directory.name).iterdir()))
        path = Path(self._directory.name) / f"kubeconfig-{number}"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self.through(kubeconfig)))
        return str(path)

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if answer != "ok":
            raise LinkFailed(f"the link answered {line!r} with {answer!r}")

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def main(listen_port: str, target: str) -> None:
    from integration.support.relay import Relay

    def say(text: str) -> None:
        print(text, flush=True)

    host, _, port = target.rpartition(":")
    family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    relay = Relay(int(listen_port), (family, address), sys.stdin.fileno(), say)
    say(f"listening {relay.port}")
    relay.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
