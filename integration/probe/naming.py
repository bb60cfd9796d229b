"""A name server with every kind of record, and one who asks name servers. Needs Python 3, nothing else.

    naming.py serve PORT              over UDP and TCP; what it does not know, it asks of its own resolver
    naming.py ask WORD [WORD ...]     prints {WORD: ANSWER IN HEX}; asks the first name server of resolv.conf

A WORD is HOW/TYPE/NAME, as udp/A/far.example: HOW is `udp`, `tcp`, or `udp1232` with EDNS and that size. The
TXT record of times.NAME tells how often NAME was asked for.
"""

from __future__ import annotations

import collections
import json
import socket
import socketserver
import struct
import sys
import threading

SECONDS = 60
PATIENCE = 20.0
TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41}
SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5
CODES = {"broken.records.example": SERVFAIL, "refused.records.example": REFUSED}
asked: collections.Counter[str] = collections.Counter()


def packed(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def text(*words: str) -> bytes:
    return b"".join(bytes([len(word)]) + word.encode() for word in words)


ZONE: dict[tuple[str, str], list[bytes]] = {
    ("far.example", "A"): [socket.inet_aton("192.0.2.80")],
    ("slow.example", "A"): [socket.inet_aton("192.0.2.81")],
    ("short.extra.example", "A"): [socket.inet_aton("192.0.2.90")],
    ("a.records.example", "A"): [socket.inet_aton(f"192.0.2.{number}") for number in (1, 2, 3)],
    ("aaaa.records.example", "AAAA"): [socket.inet_pton(socket.AF_INET6, "2001:db8::1")],
    ("alias.records.example", "CNAME"): [packed("a.records.example")],
    ("mx.records.example", "MX"): [struct.pack(">H", 10) + packed("mail.records.example")],
    ("srv.records.example", "SRV"): [struct.pack(">HHH", 1, 2, 5432) + packed("db.records.example")],
    ("txt.records.example", "TXT"): [text("first", "second \xfc", ""), text("x" * 255)],
    ("80.2.0.192.in-addr.arpa", "PTR"): [packed("far.example")],
    ("big.records.example", "TXT"): [text(f"{number:03} " + "y" * 100) for number in range(40)],
}
SOA = packed("ns.example") + packed("admin.example") + struct.pack(">5I", 1, 3600, 600, 86400, SECONDS)


def name_at(message: bytes, offset: int) -> tuple[str, int]:
    labels = []
    while length := message[offset]:
        labels.append(message[offset + 1 : offset + 1 + length].decode("latin-1"))
        offset += 1 + length
    return ".".join(labels), offset + 1


def record(name: bytes, kind: str, data: bytes, seconds: int = SECONDS) -> bytes:
    return name + struct.pack(">HHIH", TYPES[kind], 1, seconds, len(data)) + data


def answer(query: bytes, limit: int) -> bytes:
    """Cut to whole records, and marked, when it is larger than `limit` or what the asker's EDNS takes."""
    name, end = name_at(query, 12)
    name = name.lower()
    asked[name] += 1
    number = struct.unpack_from(">H", query, end)[0]
    kind = next((word for word, each in TYPES.items() if each == number), "")
    opt = b""
    if query[11]:
        limit = max(limit, struct.unpack_from(">H", query, end + 7)[0])
        opt = b"\0" + struct.pack(">HHIH", TYPES["OPT"], 1400, 0, 0)
    if name.startswith("times."):
        found = [record(b"\xc0\x0c", "TXT", text(str(asked[name.removeprefix("times.")])), 0)]
        return whole(query, end + 4, 0, [found, []], opt, limit)
    if not name.endswith(("example", "0.192.in-addr.arpa")) and not name.startswith(("far.", "slow.")):
        return by_resolver(query)
    if name in CODES:
        return whole(query, end + 4, CODES[name], [[], []], opt, limit)
    found = [record(b"\xc0\x0c", kind, data) for data in ZONE.get((name, kind), [])]
    if not found and kind != "CNAME":
        for data in ZONE.get((name, "CNAME"), []):
            found.append(record(b"\xc0\x0c", "CNAME", data))
            target = name_at(data, 0)[0]
            found += [record(packed(target), kind, each) for each in ZONE.get((target, kind), [])]
    exists = any(each == name for each, _ in ZONE)
    authority = [] if found else [record(packed("example"), "SOA", SOA)]
    return whole(query, end + 4, 0 if exists else NXDOMAIN, [found, authority], opt, limit)


def whole(query: bytes, end: int, code: int, sections: list[list[bytes]], opt: bytes, limit: int) -> bytes:
    found, authority = sections
    flags = 0x8480 | (query[2] & 1) << 8 | code

    def message(count: int, more: int = 0) -> bytes:
        head = struct.pack(">HHHHH", flags | more, 1, count, len(authority), int(bool(opt)))
        return query[:2] + head + query[12:end] + b"".join([*found[:count], *authority, opt])

    if len(message(len(found))) <= limit:
        return message(len(found))
    return message(max(count for count in range(len(found)) if len(message(count)) <= limit), 0x0200)


def name_server() -> str:
    with open("/etc/resolv.conf") as lines:
        return next(line.split()[1] for line in lines if line.startswith("nameserver"))


def by_resolver(query: bytes) -> bytes:
    with socket.socket(family(name_server()), socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE)
        asking.connect((name_server(), 53))
        asking.send(query)
        return asking.recv(65535)


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class OverUDP(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        query, answering = self.request
        answering.sendto(answer(query, 512), self.client_address)


class OverTCP(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while size := self.rfile.read(2):
            message = answer(self.rfile.read(int.from_bytes(size, "big")), 65535)
            self.wfile.write(len(message).to_bytes(2, "big") + message)


def serve(port: int) -> None:
    for server, handler in (
        (socketserver.ThreadingUDPServer, OverUDP),
        (socketserver.ThreadingTCPServer, OverTCP),
    ):
        server.address_family = socket.AF_INET6
        server.allow_reuse_address = True
        threading.Thread(target=server(("::", port), handler).serve_forever).start()


def ask(word: str) -> str:
    how, kind, name = word.split("/")
    size = int(how[3:] or 0)
    query = struct.pack(">6H", 0x4242, 0x0100, 1, 0, 0, int(bool(size)))
    query += packed(name) + struct.pack(">HH", TYPES[kind], 1)
    if size:
        query += b"\0" + struct.pack(">HHIH", TYPES["OPT"], size, 0, 0)
    if not how.startswith("tcp"):
        return by_resolver(query).hex()
    with socket.create_connection((name_server(), 53), PATIENCE) as connection:
        connection.sendall(len(query).to_bytes(2, "big") + query)
        received = connection.makefile("rb")
        return received.read(int.from_bytes(received.read(2), "big")).hex()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(json.dumps({word: ask(word) for word in sys.argv[2:]}))
