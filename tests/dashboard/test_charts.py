"""Charts are pictures that are drawn as their numbers are, whose texts are escaped."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from markupsafe import Markup

from pyxqueue.dashboard import charts
from pyxqueue.dashboard.charts import Bar, Node

HOSTILE = '"><script>alert(1)</script>&'


def drawn(chart: Markup) -> ET.Element:
    """Parse a chart: what is not well-formed is an error."""
    return ET.fromstring(str(chart))


def rects(chart: ET.Element, kind: str) -> list[tuple[float, float]]:
    """Return where each rectangle of a class begins, from above, and how high it is."""
    found = [one for one in chart.iter("rect") if one.get("class") == kind]
    return [(float(one.get("y", "")), float(one.get("height", ""))) for one in found]


def test_columns_are_as_high_as_their_numbers() -> None:
    """The largest is as high as the chart; what went badly stands at the bottom."""
    chart = drawn(charts.bars([Bar(30, 10, "a"), Bar(20, 0, "b"), Bar(0, 0, "c")], 240, 40))

    assert rects(chart, "good") == [(0.0, 30.0), (20.0, 20.0)]
    assert rects(chart, "bad") == [(30.0, 10.0)]
    assert len(rects(chart, "base")) == 3


def test_one_among_many_is_seen() -> None:
    """A single failure among ten thousand is a pixel, not nothing."""
    chart = drawn(charts.bars([Bar(10_000, 1, "a")], 240, 40))

    assert rects(chart, "bad") == [(39.0, 1.0)]


def test_nothing_is_drawn_of_nothing() -> None:
    """No column, or only empty ones, is no division by zero."""
    assert rects(drawn(charts.bars([])), "good") == []
    assert rects(drawn(charts.bars([Bar(0, 0, "a")])), "good") == []
    assert rects(drawn(charts.histogram([0, 0], ["a", "b"])), "good") == [(3.0, 10.0), (19.0, 10.0)]


def test_texts_are_escaped() -> None:
    """In titles, labels, names and links of every chart."""
    node = Node("a", (HOSTILE, HOSTILE), "done", f"/t/{HOSTILE}", ())
    found = [
        charts.bars([Bar(1, 1, HOSTILE)], label=HOSTILE),
        charts.spans([("run", 0, 1, HOSTILE)]),
        charts.histogram([1], [HOSTILE], label=HOSTILE),
        charts.graph([node], HOSTILE),
    ]

    assert [list(drawn(chart).iter("script")) for chart in found] == [[]] * 4
    assert HOSTILE in str([one.text for one in drawn(found[0]).iter("title")])


def test_a_span_stays_in_the_picture() -> None:
    """One of no length at the end of the time is seen, and not outside."""
    chart = drawn(charts.spans([("wait", 0, 0.5, "a"), ("run", 1, 1, "b")], width=640))

    last = next(one for one in chart.iter("rect") if one.get("class") == "run")
    assert float(last.get("x", "")) + float(last.get("width", "")) == 640


def test_a_task_stands_right_of_those_that_it_waits_for() -> None:
    """Lines lead from left to right; an unknown predecessor has none."""
    nodes = [
        Node("a", ("a", ""), "done", "", ()),
        Node("b", ("b", ""), "done", "", ("a",)),
        Node("c", ("c", ""), "waits", "", ("a", "b", "gone")),
    ]

    chart = drawn(charts.graph(nodes))

    places = [float(one.get("x", "")) for one in chart.iter("rect") if "box" in one.get("class", "")]
    assert places == sorted(places)
    assert len(set(places)) == 3
    assert len(list(chart.iter("path"))) == 3
