"""PURE: ratios as an SVG: a row for each figure, a dot for each of its tables, 1 in the middle, log scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import log2

from .figures import Figure

MORE_IS_BETTER = ("MB/s", "1/s")
COLOURS = ("#1b6ca8", "#d1793f", "#5f9e58", "#8f5aa8", "#888888", "#c0504d")
ROW, TOP, LEFT, WIDTH, MARGIN = 22, 56, 330, 520, 40
LEAST, MOST = 1 / 16, 16


def svg(figures: Iterable[Figure], rival: str) -> str:
    """Of all figures beside that rival: how many times better ours are. What is out of the scale stands at
    its end."""
    shown = [figure for figure in figures if figure.rival == rival and figure.ratio]
    names = list(dict.fromkeys(figure.name for figure in shown))
    groups = list(dict.fromkeys(figure.group for figure in shown))
    height = TOP + ROW * (len(names) + len(groups)) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + MARGIN}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(
            (LEFT + WIDTH + MARGIN) / 2,
            18,
            f"times better than {rival} (right of 1), least to most of the rounds; | is to be reached",
            "middle",
        ),
        *_axis(TOP + ROW * len(names)),
    ]
    for row, name in enumerate(names):
        y = TOP + ROW * row + ROW / 2
        lines.append(_text(LEFT - 10, y + 4, name, "end"))
        members = [figure for figure in shown if figure.name == name]
        for figure in members:
            offset = (groups.index(figure.group) - (len(groups) - 1) / 2) * min(5.0, 14 / len(groups))
            lines += _dot(figure, y + offset, COLOURS[groups.index(figure.group) % len(COLOURS)])
    for number, group in enumerate(groups):
        y = TOP + ROW * (len(names) + number) + 24
        lines.append(f'<circle cx="{LEFT}" cy="{y}" r="4" fill="{COLOURS[number % len(COLOURS)]}"/>')
        lines.append(_text(LEFT + 10, y + 4, group or "start", "start"))
    return "\n".join([*lines, "</svg>", ""])


def times_better(figure: Figure) -> Sequence[float]:
    """Each round's ratio, turned so that more is better."""
    ratios = [
        ours / theirs for ours, theirs in zip(figure.ours, figure.theirs, strict=False) if theirs and ours
    ]
    return ratios if figure.unit in MORE_IS_BETTER else [1 / ratio for ratio in ratios]


def _axis(bottom: float) -> list[str]:
    lines = []
    for power in range(round(log2(LEAST)), round(log2(MOST)) + 1):
        x, value = _place(2.0**power), 2.0**power
        stroke = "#444444" if power == 0 else "#dddddd"
        lines.append(f'<line x1="{x:.1f}" y1="{TOP - 10}" x2="{x:.1f}" y2="{bottom}" stroke="{stroke}"/>')
        lines.append(_text(x, TOP - 16, f"{value:g}" if value >= 1 else f"1/{1 / value:g}", "middle"))
    return lines


def _dot(figure: Figure, y: float, colour: str) -> list[str]:
    values = times_better(figure)
    assert figure.ratio
    middle = figure.ratio if figure.unit in MORE_IS_BETTER else 1 / figure.ratio
    least, most = _place(min(values)), _place(max(values))
    lines = [
        f'<path d="M{least:.1f} {y:.1f} H{most:.1f}" stroke="{colour}" stroke-width="1.5"/>',
        f'<circle cx="{_place(middle):.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>',
    ]
    bound = figure.limit.least_ratio or (1 / figure.limit.most_ratio if figure.limit.most_ratio else None)
    if bound:
        x = _place(bound)
        lines.append(f'<path d="M{x:.1f} {y - 4:.1f} v8" stroke="{colour}" stroke-width="2.5"/>')
    return lines


def _place(ratio: float) -> float:
    share = (log2(min(MOST, max(LEAST, ratio))) - log2(LEAST)) / (log2(MOST) - log2(LEAST))
    return LEFT + share * WIDTH


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
