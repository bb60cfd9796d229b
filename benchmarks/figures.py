"""PURE: samples of a figure and of its rival, as medians, spreads, ratios and a table.

Rounds alternate between the two, so the ratio is taken round by round: what the machine did in that minute
slows both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any

MISSED, FAILED = "MISSED", "FAILED"


@dataclass(frozen=True)
class Limit:
    """What is to be reached: bounds of the ratio to the rival, and of the median itself; None for none.

    `most` where less is better, `least` where more is.
    """

    most_ratio: float | None = None
    most: float | None = None
    least_ratio: float | None = None
    least: float | None = None

    def is_missed(self, ratio: float | None, middle: float | None) -> bool:
        bounds = ((ratio, self.least_ratio, self.most_ratio), (middle, self.least, self.most))
        return any(
            value is not None
            and ((most is not None and value > most) or (least is not None and value < least))
            for value, least, most in bounds
        )

    def text(self, unit: str) -> str:
        parts = (
            (">=", self.least_ratio, "x"),
            ("<=", self.most_ratio, "x"),
            (">=", self.least, f" {unit}"),
            ("<=", self.most, f" {unit}"),
        )
        return ", ".join(f"{sign} {value:g}{end}" for sign, value, end in parts if value is not None)


NO_LIMIT = Limit()


@dataclass(frozen=True)
class Figure:
    """`ours` and `theirs` are samples of the same rounds, in `unit`. No `rival`: no `theirs`.

    `group` is the table that it stands in. `failed` says why there are no samples.
    """

    name: str
    unit: str
    ours: tuple[float, ...] = ()
    rival: str = ""
    theirs: tuple[float, ...] = ()
    limit: Limit = NO_LIMIT
    group: str = ""
    failed: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours to theirs: the median of the rounds' own ratios."""
        ratios = [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=False) if theirs]
        return median(ratios) if ratios else None

    @property
    def missed(self) -> bool:
        return self.limit.is_missed(self.ratio, median(self.ours) if self.ours else None)

    def as_json(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "name": self.name,
            "unit": self.unit,
            "ours": list(self.ours),
            "rival": self.rival,
            "theirs": list(self.theirs),
            "ratio": self.ratio,
            "limit": self.limit.text(self.unit),
            "missed": self.missed,
            "failed": self.failed,
        }


HEADER = ("figure", "ratio", "ours", "rival's", "rival", "to reach", "")


def tables(figures: Sequence[Figure]) -> str:
    """A Markdown table for each group, under its name, in the order in which they come."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.group, []).append(figure)
    return "\n\n".join(
        (f"{group}\n\n" if group else "") + table(members) for group, members in groups.items()
    )


def table(figures: Iterable[Figure]) -> str:
    """A Markdown table; each value is a median with the least and the most beside it."""
    rows: list[tuple[str, ...]] = [HEADER]
    name = ""
    for figure in figures:
        rows.append(_row(figure, is_told=figure.name == name))
        name = figure.name
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def percentile(samples: Iterable[float], share: float) -> float:
    """The least sample that so large a share (0 to 1) of them does not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _row(figure: Figure, *, is_told: bool) -> tuple[str, ...]:
    """Name and value of ours are left out when the row above has told them."""
    mark = f"{FAILED}: {figure.failed}" if figure.failed else MISSED if figure.missed else ""
    return (
        "" if is_told else figure.name,
        "" if figure.ratio is None else f"{figure.ratio:.2f}x",
        "" if is_told else _samples(figure.ours, figure.unit),
        _samples(figure.theirs, figure.unit),
        figure.rival,
        figure.limit.text(figure.unit),
        mark.replace("|", "/").replace("\n", " ")[:200],
    )


def _samples(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{_number(values[0])} {unit}"
    return f"{_number(median(values))} {unit} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    """Three digits that count, and never an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
