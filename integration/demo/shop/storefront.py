"""The shop's door: a customer asks for an item, orders answers."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping
from urllib.parse import quote

import serving

ORDERS = "http://orders/offer?item="


def front(query: Mapping[str, str]) -> str:
    with urllib.request.urlopen(ORDERS + quote(query.get("item", "tea")), timeout=10) as answer:
        return f"{os.environ['SHOP_NAME']}: {answer.read().decode().strip()}"


if __name__ == "__main__":
    serving.serve(8080, {"/": front})
