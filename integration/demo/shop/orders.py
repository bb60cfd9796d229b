"""What an item costs and whether it can be had. This is the service that the demo swaps.

It needs all that a pod gives: a supplier and a database by their Service names, a Secret and a catalogue at
their paths, and variables from a ConfigMap and a Secret.
"""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import database
import serving

CATALOGUE = Path("/var/lib/orders/catalogue")
STOCK = "http://stock/left?item="
SIGNATURE = "sold by orders, as deployed"


def offer(query: Mapping[str, str]) -> str:
    item = query.get("item", "tea")
    prices = dict(line.split() for line in CATALOGUE.read_text().splitlines())
    with urllib.request.urlopen(STOCK + item, timeout=5) as answer:
        left = answer.read().decode().strip()
    database.ask("INCR", f"asked:{item}")
    return f"{item} at {prices[item]} {os.environ['SHOP_CURRENCY']}, {left} left; {SIGNATURE}"


def seen(query: Mapping[str, str]) -> str:
    """What this process sees, one fact a line; the first two differ from copy to copy, the rest must not."""
    secret, (name, _) = database.PASSWORD_FILE.read_text(), database.SERVICE
    facts = {
        "program": str(Path(__file__).resolve()),
        "host name": socket.gethostname(),
        "database": f"{name} is {address(name)} and says {database.ask('PING')}",
        "stock": f"stock is {address('stock')}",
        "Secret": f"{database.PASSWORD_FILE} has {len(secret)} characters, and the database takes them",
        "variables": f"SHOP_NAME={os.environ['SHOP_NAME']!r}, SHOP_CURRENCY={os.environ['SHOP_CURRENCY']!r}, "
        f"SHOP_LICENCE of {len(os.environ['SHOP_LICENCE'])} characters",
        "volume": f"{CATALOGUE} has {len(CATALOGUE.read_text().splitlines())} lines",
        "account": Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text(),
    }
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def address(name: str) -> str:
    return str(socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)[0][4][0])


if __name__ == "__main__":
    serving.serve(8080, {"/offer": offer, "/seen": seen})
