"""Draw the results as bars, one panel for each measure, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LABEL, BAR, GAP, HEAD = 720, 150, 16, 6, 34
OURS, THEIRS = "#2a7f62", "#9aa5b1"


def svg(panels: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """A panel for each title with its numbers by contestant; the first contestant is drawn in a colour of its own."""
    parts, top = [], 0
    for title, numbers in panels:
        parts.append(f'<text x="4" y="{top + 22}" font-weight="bold">{escape(title)}</text>')
        top += HEAD
        longest = max(numbers.values()) or 1.0
        for index, (name, number) in enumerate(numbers.items()):
            length = (WIDTH - LABEL - 90) * number / longest
            middle = top + BAR - 4
            parts += (
                f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" fill="{THEIRS if index else OURS}"/>',
                f'<text x="{LABEL + length + 6:.1f}" y="{middle}">{number:,.3g}</text>'
                if number < 100
                else f'<text x="{LABEL + length + 6:.1f}" y="{middle}">{number:,.0f}</text>',
            )
            top += BAR + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top + GAP}" font-family="sans-serif" '
    return "\n".join(
        [head + 'font-size="12">', '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>", ""]
    )
