"""Tables for people, on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """PURE: title and rows, or that there are none."""
    lines = list(rows)
    if not lines:
        return f"{title}: none"
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    shown = [
        "  " + "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in (columns, *lines)
    ]
    return "\n".join([f"{title}:", *shown])
