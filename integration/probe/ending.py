"""How TCP connections end, as both ends are told. Needs Python 3, nothing else.

    ending.py serve PORT
    ending.py try HOST PORT [NAME ...]     prints {NAME: [WHAT THE CLIENT SAW, WHAT THE SERVER SAW]}

Each NAME is a pair of functions of ENDINGS, the client's and the server's. What an end saw is how many bytes
it received until its peer's end, or an errno.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import sys
import threading
import time

PATIENCE = 30.0
WORD = b"word"
MUCH = bytes(3_000_000)
"""More than both kernels keep."""
seen: dict[str, str] = {}
seen_another = threading.Condition()


def linger(connection: socket.socket, seconds: int) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))


def received(connection: socket.socket) -> str:
    """To the end."""
    count = 0
    try:
        while data := connection.recv(1 << 16):
            count += len(data)
    except OSError as error:
        return errno.errorcode[error.errno or 0]  # how much came before a reset is nobody's promise
    return f"{count} bytes, then the end"


def speaks_and_ends(connection: socket.socket) -> str:
    connection.sendall(WORD)
    connection.shutdown(socket.SHUT_WR)
    return received(connection)


def answers_much_after_the_end(connection: socket.socket) -> str:
    told = received(connection)
    connection.sendall(MUCH)
    return told


def only_listens(connection: socket.socket) -> str:
    return received(connection)


def resets(connection: socket.socket) -> str:
    linger(connection, 0)
    return "reset"


def resets_after_a_word(connection: socket.socket) -> str:
    connection.sendall(WORD)
    linger(connection, 0)
    return "reset"


def leaves_a_word_unread(connection: socket.socket) -> str:
    connection.recv(1, socket.MSG_PEEK)
    return "closed"


def says_a_word(connection: socket.socket) -> str:
    connection.sendall(WORD)
    return received(connection)


def closes(connection: socket.socket) -> str:
    return "closed"


def says_much_and_closes(connection: socket.socket) -> str:
    connection.sendall(MUCH)
    return "closed"


def lingers_with_much(connection: socket.socket) -> str:
    linger(connection, 20)
    connection.sendall(MUCH)
    return "closed"


def talks_on(connection: socket.socket) -> str:
    """To one who does not listen any more."""
    ends = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < ends:
            connection.sendall(WORD)
            time.sleep(0.01)  # each word shall find what the last one brought about
    except (BrokenPipeError, ConnectionResetError):
        return "told that nobody listens"
    return "never told"


ENDINGS = {
    "the client ends its half, and gets much": (speaks_and_ends, answers_much_after_the_end),
    "the server ends its half, and gets much": (answers_much_after_the_end, speaks_and_ends),
    "both end at once": (speaks_and_ends, speaks_and_ends),
    "the client resets": (resets, only_listens),
    "the server resets": (only_listens, resets),
    "the client resets after a word": (resets_after_a_word, only_listens),
    "the server resets after a word": (only_listens, resets_after_a_word),
    "the server closes with a word unread": (says_a_word, leaves_a_word_unread),
    "the client closes with a word unread": (leaves_a_word_unread, says_a_word),
    "the client closes": (closes, only_listens),
    "the server closes": (only_listens, closes),
    "the client says much and closes": (says_much_and_closes, only_listens),
    "the server says much and closes": (only_listens, says_much_and_closes),
    "the client lingers with much": (lingers_with_much, only_listens),
    "the server lingers with much": (only_listens, lingers_with_much),
    "the client talks on": (talks_on, closes),
    "the server talks on": (closes, talks_on),
}


def line(connection: socket.socket) -> str:
    text = b""
    while not text.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            raise EOFError
        text += byte
    return text.decode().strip()


def serve_one(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(PATIENCE)
        try:
            word, _, mark = line(connection).partition(" ")
            if word == "seen":
                with seen_another:
                    seen_another.wait_for(lambda: mark in seen, PATIENCE)
                    connection.sendall(seen.get(mark, "nothing yet").encode())
                return
            connection.sendall(b"!")
            connection.recv(1)  # both are there before either ends anything
            connection.sendall(b"!")
            told = list(ENDINGS.values())[int(word)][1](connection)
        except (OSError, EOFError) as error:
            told, mark = repr(error), "?"
    with seen_another:
        seen[mark] = told
        seen_another.notify_all()


def serve(port: int) -> None:
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        print("listening", flush=True)
        while True:
            threading.Thread(target=serve_one, args=(listener.accept()[0],), daemon=True).start()


def attempt(address: tuple[str, int], name: str) -> list[str]:
    mark = f"{name.replace(' ', '-')}-{time.monotonic_ns()}"
    with socket.create_connection(address, PATIENCE) as connection:
        connection.sendall(f"{list(ENDINGS).index(name)} {mark}\n".encode())
        connection.recv(1)
        connection.sendall(b"?")
        connection.recv(1)
        told = ENDINGS[name][0](connection)
    with socket.create_connection(address, PATIENCE) as connection:
        connection.sendall(f"seen {mark}\n".encode())
        return [told, connection.makefile().read()]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        names = sys.argv[4:] or list(ENDINGS)
        print(json.dumps({name: attempt((sys.argv[2], int(sys.argv[3])), name) for name in names}))
