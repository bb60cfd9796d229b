"""How much is left of what: the counts live in the database."""

from __future__ import annotations

from collections.abc import Mapping

import database
import serving

DELIVERED = {"tea": 40, "coffee": 25, "cocoa": 12}


def left(query: Mapping[str, str]) -> str:
    item = query.get("item", "tea")
    if item not in DELIVERED:
        raise ValueError(f"we do not sell {item}")
    database.ask("SETNX", f"stock:{item}", str(DELIVERED[item]))
    return database.ask("GET", f"stock:{item}")


if __name__ == "__main__":
    serving.serve(8080, {"/left": left})
