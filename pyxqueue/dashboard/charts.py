"""Charts as SVG, made on the server: no script, and no style of their own, so that a strict policy lets them pass.

Colours and fonts come from the style sheet, by class. Each text is escaped here. The numbers of a chart stand in a
table beside it, or in its title.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape
from msgspec import Struct

from .formatting import middle

_HEIGHT, _WIDTH, _GAP = 44, 236, 48
_ROW = 16


class Bar(Struct, frozen=True):
    """One column: how many went well, how many did not, and what it is about."""

    good: float
    bad: float
    title: str


class Node(Struct, frozen=True):
    """A box in a graph."""

    id: str
    lines: Sequence[str]
    kind: str
    """The class of its colour."""
    href: str
    before: Sequence[str]


def bars(columns: Sequence[Bar], width: int = 240, height: int = 40, label: str = "") -> Markup:
    """Return a bar chart. The bad part of each bar is at the bottom."""
    most = max((one.good + one.bad for one in columns), default=0) or 1
    step = width / max(1, len(columns))
    parts = []
    for place, one in enumerate(columns):
        x, wide = place * step, max(1.0, step - 1)
        bad = height * one.bad / most
        good = height * one.good / most
        shapes = [f'<rect class="base" x="{x:.1f}" y="{height - 1}" width="{wide:.1f}" height="1"/>']
        if one.good:
            tall = max(1.0, good)
            shapes.append(_rect("good", x, height - bad - tall, wide, tall))
        if one.bad:
            shapes.append(_rect("bad", x, height - max(1.0, bad), wide, max(1.0, bad)))
        parts.append(f"<g><title>{escape(one.title)}</title>{''.join(shapes)}</g>")
    return _svg("bars", width, height, label, parts)


def spans(parts: Sequence[tuple[str, float, float, str]], width: int = 640) -> Markup:
    """Return bars on one time line. Each has a class, a beginning and an end from 0 to 1, and a title."""
    shapes = ['<rect class="base" x="0" y="9" width="100%" height="2"/>']
    for kind, begin, end, title in parts:
        x, wide = width * begin, max(3.0, width * (end - begin))
        rect = f'<rect class="{kind}" x="{min(x, width - wide):.1f}" y="3" width="{wide:.1f}" height="14" rx="3"/>'
        shapes.append(f"<g><title>{escape(title)}</title>{rect}</g>")
    return _svg("spans", width, 20, "when the task waited and ran", shapes)


def histogram(counts: Sequence[int], names: Sequence[str], label: str = "") -> Markup:
    """Return one row for each bucket, with its name and its count."""
    most, width = max(counts, default=0) or 1, 420
    rows = []
    for place, (count, name) in enumerate(zip(counts, names, strict=True)):
        y, wide = place * _ROW, (width - 150) * count / most
        rows.append(f'<text class="name" x="82" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        rows.append(_rect("good", 90, y + 3, max(wide, 1.0 if count else 0.0), _ROW - 6))
        if count:
            rows.append(f'<text class="count" x="{96 + wide:.1f}" y="{y + 12}">{count:,}</text>')
    return _svg("histogram", width, _ROW * len(counts), label, rows)


def graph(nodes: Sequence[Node], label: str = "") -> Markup:
    """Return boxes in layers, each to the right of those that it waits for, with lines between them."""
    layers = _layers(nodes)
    rows: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for node in nodes:
        layer = layers[node.id]
        rows[layer] = rows.get(layer, -1) + 1
        places[node.id] = (layer * (_WIDTH + _GAP), rows[layer] * (_HEIGHT + 14))
    wide = max((x for x, _ in places.values()), default=0) + _WIDTH + 2
    tall = max((y for _, y in places.values()), default=0) + _HEIGHT + 2
    parts = [_edge(places[before], places[node.id]) for node in nodes for before in node.before if before in places]
    parts += [_box(node, *places[node.id]) for node in nodes]
    return _svg("graph", wide, tall, label, parts)


def _layers(nodes: Sequence[Node]) -> Mapping[str, int]:
    """Return the number of the layer of each node; the nodes come after those that they wait for."""
    found: dict[str, int] = {}
    for node in nodes:
        found[node.id] = max((found[before] + 1 for before in node.before if before in found), default=0)
    return found


def _edge(begin: tuple[int, int], end: tuple[int, int]) -> str:
    x, y = begin[0] + _WIDTH, begin[1] + _HEIGHT / 2
    to_x, to_y = end[0], end[1] + _HEIGHT / 2
    half = (to_x - x) / 2
    return (
        f'<path class="edge" fill="none" d="M{x} {y:.0f} C{x + half:.0f} {y:.0f} {to_x - half:.0f} {to_y:.0f} '
        f'{to_x} {to_y:.0f}"/>'
    )


def _box(node: Node, x: int, y: int) -> str:
    texts = "".join(
        f'<text class="line{number}" x="{x + 12}" y="{y + 18 + 16 * number}">{escape(middle(line, 30))}</text>'
        for number, line in enumerate(node.lines[:2])
    )
    rect = f'<rect class="box {node.kind}" x="{x + 1}" y="{y + 1}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
    mark = f'<rect class="mark {node.kind}" x="{x + 1}" y="{y + 1}" width="4" height="{_HEIGHT}" rx="2"/>'
    body = f"<title>{escape(' · '.join(node.lines))}</title>{rect}{mark}{texts}"
    return f'<a href="{escape(node.href)}">{body}</a>' if node.href else f"<g>{body}</g>"


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _svg(kind: str, width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    role = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(  # noqa: S704 - every text in it was escaped
        f'<svg class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" {role}>'
        f"{''.join(parts)}</svg>"
    )
