"""What who dials says of the link that its connection shall carry: the name, and how much has come. Pure."""

from __future__ import annotations

_BULK = "-bulk"


def claim(name: str, received: int) -> str:
    """What who dials says of the link that the pipe shall carry."""
    return f"{name} {received}"


def parse_claim(text: str) -> tuple[str, int]:
    """The inverse. ValueError when it is none."""
    name, received = text.split(" ")
    return name, int(received)


def bulk_name(name: str) -> str:
    """The name of the second link of the same mux, for what is much."""
    return name + _BULK


def is_bulk(name: str) -> bool:
    return name.endswith(_BULK)
