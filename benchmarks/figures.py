"""PURE: samples of a figure and of its rival, as medians, spreads, ratios and a table.

Rounds alternate between the two, so the ratio is taken round by round: what the machine did in that minute
slows both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

MISSED = "MISSED"


@dataclass(frozen=True)
class Figure:
    """`ours` and `theirs` are samples of the same rounds, in `unit`; less is better. No `rival`: no `theirs`.

    `most_ratio` bounds the ratio to the rival, `most` the median itself; None where nothing is to be reached.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    rival: str = ""
    theirs: tuple[float, ...] = ()
    most_ratio: float | None = None
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' own ratios."""
        ratios = [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=False) if theirs]
        return median(ratios) if ratios else None

    @property
    def missed(self) -> bool:
        too_slow = self.most_ratio is not None and self.ratio is not None and self.ratio > self.most_ratio
        return too_slow or (self.most is not None and median(self.ours) > self.most)

    @property
    def limit(self) -> str:
        """What is to be reached, in words; empty where nothing is."""
        parts = []
        if self.most_ratio is not None:
            parts.append(f"<= {self.most_ratio:g}x")
        if self.most is not None:
            parts.append(f"<= {self.most:g} {self.unit}")
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": list(self.ours),
            "rival": self.rival,
            "theirs": list(self.theirs),
            "ratio": self.ratio,
            "limit": self.limit,
            "missed": self.missed,
        }


HEADER = ("figure", "ratio", "ours", "rival's", "rival", "to reach", "")


def table(figures: Iterable[Figure]) -> str:
    """A Markdown table; each value is a median with the least and the most beside it."""
    rows = [HEADER, *map(_row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        "" if figure.ratio is None else f"{figure.ratio:.2f}x",
        _samples(figure.ours, figure.unit),
        _samples(figure.theirs, figure.unit),
        figure.rival,
        figure.limit,
        MISSED if figure.missed else "",
    )


def _samples(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3g} {unit}"
    return f"{median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g})"
