"""Who reads files of variables: programs where this machine has them, and what they do, written down.

A reader takes a file and names, and says what it has for each of them; None where it has nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

import pytest

from telepresence_py.environment.dotenv import read_dotenv

Seen = dict[str, str | None]
Reader = Callable[[Path, Iterable[str]], Seen]
SHOW = "exec /usr/bin/env -0"


def _ours(path: Path, names: Iterable[str]) -> Seen:
    seen = read_dotenv(os.fsdecode(path.read_bytes()))
    return {name: seen.get(name) for name in names}


def _json(path: Path, names: Iterable[str]) -> Seen:
    seen = json.loads(path.read_text())
    return {name: seen.get(name) for name in names}


def _by(*command: str, **environment: str) -> Reader:
    """The program reads the file, its last argument, and becomes a program that shows its environment."""

    def read(path: Path, names: Iterable[str]) -> Seen:
        env = {"PATH": os.environ["PATH"], "HOME": str(path.parent), **environment}
        done = subprocess.run([*command, str(path)], env=env, capture_output=True, check=True)
        assert done.stderr == b""
        seen = dict(os.fsdecode(line).split("=", 1) for line in done.stdout.split(b"\0") if line)
        return {name: seen.get(name) for name in names}

    return read


def _docker(path: Path, names: Iterable[str]) -> Seen:
    """What the docker client sends to its daemon, which is ours and refuses to make the container."""
    bodies: list[dict[str, Any]] = []

    class Daemon(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "/containers/create" in self.path:
                bodies.append(json.loads(body))
            answer = b'{"message": "no"}'
            self.send_response(200 if self.path.endswith("_ping") else 403)
            self.send_header("Api-Version", "1.44")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else answer)

        do_GET = do_HEAD = do_POST = _answer

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(UnixStreamServer):
        def get_request(self) -> tuple[socket.socket, Any]:
            return super().get_request()[0], ("docker", 0)

    # the path of a socket has at most 107 bytes
    with tempfile.TemporaryDirectory() as place, Server(f"{place}/docker", Daemon) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            words = ["docker", "-H", f"unix://{place}/docker", "create", "--env-file", str(path), "x"]
            done = subprocess.run(words, capture_output=True, check=False, timeout=30)
        finally:
            server.shutdown()
            serving.join()
    assert bodies, done.stderr.decode()
    seen = dict(line.split("=", 1) for line in bodies[0]["Env"])
    return {name: seen.get(name) for name in names}


def _as_docker(path: Path, names: Iterable[str]) -> Seen:
    """Lines as Go's bufio.ScanLines has them; the value is what stands behind the first `=`."""
    seen = {}
    for line in path.read_bytes().split(b"\n"):
        assert len(line) < 65536
        name, equals, value = line.removesuffix(b"\r").decode().lstrip().partition("=")
        if equals and not name.startswith("#"):
            assert not re.search(r"\s", name)
            seen[name] = value
    return {name: seen.get(name) for name in names}


def _as_powershell(path: Path, names: Iterable[str]) -> Seen:
    """Assignments of verbatim strings: a quote of any kind ends one, and two are the first of them."""
    text, quotes = path.read_bytes().decode("utf-8-sig"), "'\u2018\u2019\u201a\u201b"
    seen, position = {}, 0
    while position < len(text):
        begun = re.compile(rf"\$\{{Env:([\w.-]+)\}} = [{quotes}]").match(text, position)
        assert begun, text[position : position + 80]
        name, value, position = begun[1], "", begun.end()
        while (character := text[position]) not in quotes or text[position + 1] in quotes:
            value += character
            position += 2 if character in quotes else 1
        assert text[position + 1] == "\n"
        seen[name], position = value, position + 2
    return {name: seen.get(name) for name in names}


_FISH = "source $argv[1]; " + SHOW
_POWERSHELL = ". $args[0]; & /usr/bin/env -0"
_SOURCE = f'. "$1"; {SHOW}'
READERS: dict[str, dict[str, Reader]] = {
    "dotenv": {"ours": _ours},
    "json": {"json": _json},
    "shell": {
        "sh": _by("sh", "-c", _SOURCE, "sh"),
        "bash": _by("bash", "-c", _SOURCE, "sh"),
        "bash in UTF-8": _by("bash", "-c", _SOURCE, "sh", LC_ALL="C.UTF-8"),
        "bash --posix": _by("bash", "--posix", "-c", _SOURCE, "sh"),
        "zsh": _by("zsh", "-f", "-c", _SOURCE, "sh"),
    },
    "fish": {
        "fish": _by("fish", "--no-config", "-c", _FISH),
        "fish in UTF-8": _by("fish", "--no-config", "-c", _FISH, LC_ALL="C.UTF-8"),
    },
    "powershell": {
        "written down": _as_powershell,
        "pwsh": _by("pwsh", "-NoProfile", "-CommandWithArgs", _POWERSHELL),
    },
    "docker": {"written down": _as_docker, "docker": _docker},
}


def reading(form: str) -> list[Any]:
    """Parameters of a test: (the format, one of its readers)."""
    return [
        pytest.param(
            form,
            read,
            id=f"{form} by {name}",
            marks=pytest.mark.skipif(
                name.split()[0] in ("zsh", "fish", "pwsh", "docker")
                and shutil.which(name.split()[0]) is None,
                reason=f"there is no {name.split()[0]}",
            ),
        )
        for name, read in READERS[form].items()
    ]
