"""Draw the numbers of a run as bars: one panel for each measure, narrow enough for a phone, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import chain

from attrs import frozen

WIDTH, MARGIN, LABEL, NUMBER = 420, 10, 112, 64
BAR, STEP, HEAD, FOOT = 14, 20, 44, 14
OURS, BARE, THEIRS = "#0f766e", "#c9b458", "#94a3b8"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2937}.title{font-weight:600}.unit{font-size:11px;fill:#6b7280}"
    "@media(prefers-color-scheme:dark){rect.page{fill:#0d1117}text{fill:#e5e7eb}.unit{fill:#9ca3af}}"
)


@frozen
class Panel:
    """One measure."""

    title: str
    unit: str
    """With what is better: "tasks/s, more is better"."""
    numbers: Mapping[str, float]
    """By contestant."""


def svg(panels: Sequence[Panel]) -> str:
    """All panels, one below the other."""
    drawn, top = [], MARGIN
    for panel in panels:
        drawn.append(_panel(panel, top))
        top += HEAD + STEP * len(panel.numbers) + FOOT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">'
    page = '<rect class="page" width="100%" height="100%" fill="white"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", page, *chain.from_iterable(drawn), "</svg>", ""])


def _panel(panel: Panel, top: int) -> list[str]:
    lines = [
        f'<text class="title" x="{MARGIN}" y="{top + 16}">{escape(panel.title)}</text>',
        f'<text class="unit" x="{MARGIN}" y="{top + 32}">{escape(panel.unit)}</text>',
    ]
    longest = max(panel.numbers.values()) or 1.0
    for index, (name, number) in enumerate(panel.numbers.items()):
        y = top + HEAD + STEP * index
        length = max(1.0, (WIDTH - MARGIN - LABEL - NUMBER) * number / longest)
        lines += [
            f'<text x="{LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(name.removesuffix("_sqlite"))}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{_colour(name)}"/>',
            f'<text x="{LABEL + length + 5:.1f}" y="{y + 11}">{shown(number)}</text>',
        ]
    return lines


def _colour(name: str) -> str:
    return OURS if name.startswith("pyxqueue") else BARE if name.startswith("bare") else THEIRS


def shown(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
