"""Redis, as much of its protocol as the shop needs (RESP, https://redis.io/docs/reference/protocol-spec/)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

SERVICE = ("database", 6379)
PASSWORD_FILE = Path("/run/secrets/database/password")


def ask(*words: str) -> str:
    """One command on a connection of its own; OSError when the database refuses or is not there."""
    with socket.create_connection(SERVICE, timeout=5) as connection, connection.makefile("rb") as answers:
        for command in (("AUTH", PASSWORD_FILE.read_text().strip()), words):
            connection.sendall(encode(command))
            answer = decode(answers.readline(), answers.read)
    return answer


def encode(words: tuple[str, ...]) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words]
    return b"".join(parts)


def decode(line: bytes, more: Callable[[int], bytes]) -> str:
    kind, rest = line[:1], line[1:].strip().decode()
    if kind == b"$" and rest != "-1":
        return more(int(rest) + 2)[:-2].decode()
    if kind == b"-" or not line:
        raise ConnectionError(f"the database said: {rest or 'nothing'}")
    return "" if kind == b"$" else rest
