"""The board, the alerts, the scaling and the page on monitoring use metrics that there are, by name and label."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyxqueue import TaskQueue
from pyxqueue.model.statistics import OUTCOMES
from pyxqueue.plugins.prometheus import PLACES, QueueCollector

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "examples" / "deploy"
SUFFIXES = {
    "counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",), "gauge": ("",)
}  # fmt: skip
OF_PROMETHEUS = {"instance", "job", "pod", "alertname"}
"""Labels that Prometheus adds."""


def names() -> set[str]:
    """The names of all samples that a collector has."""
    families = QueueCollector([TaskQueue("memory://")]).describe()
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}


def labels() -> set[str]:
    """All labels that samples may have."""
    families: list[Any] = list(QueueCollector([TaskQueue("memory://")]).describe())
    own = {label for family in families for label in family._labelnames}
    return own | {"le", "version", "store"} | OF_PROMETHEUS


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana.json").read_text())
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def expressions() -> list[str]:
    """All queries for Prometheus in the examples."""
    panels = [target["expr"] for panel in board()["panels"] for target in panel["targets"]]
    variables = [one["query"] for one in board()["templating"]["list"] if one["type"] == "query"]
    scaling = re.findall(r"query: \|\n((?: {10,}.*\n)+)", (DEPLOY / "kubernetes.yaml").read_text())
    assert scaling
    return [*panels, *variables, *(rule["expr"] for rule in rules()), *scaling]


@pytest.mark.parametrize("expression", expressions())
def test_a_query_asks_for_what_there_is(expression: str) -> None:
    """Metrics, labels, places and outcomes are known, and each bracket is closed."""
    asked = set(re.findall(r"\bpyxqueue_\w+", expression))
    assert asked
    assert asked <= names()
    by = [name for found in re.findall(r"(?:by|without) \(([^)]*)\)", expression) for name in found.split(", ")]
    matched = re.findall(r"[{,](\w+)(?:=~|!=|!~|=)\"", expression)
    assert {*by, *matched} <= labels()
    values = {"place": PLACES, "outcome": OUTCOMES}
    for label, value in re.findall(r"\b(place|outcome)(?:=~|!=|=)\"([^\"]*)\"", expression):
        assert set(value.split("|")) <= set(values[label])
    assert [expression.count(one) for one in "({["] == [expression.count(one) for one in ")}]"]


def test_every_metric_is_on_the_board() -> None:
    """So that a new one is not forgotten; of a histogram, its buckets or its sum."""
    shown = {name for one in expressions() for name in re.findall(r"\bpyxqueue_\w+", one)}

    assert {name.removesuffix("_count") for name in names() - shown} <= {
        "pyxqueue_task_run_seconds", "pyxqueue_task_wait_seconds", "pyxqueue_task_wait_seconds_sum"
    }  # fmt: skip


def test_panels_have_places_of_their_own() -> None:
    """None lies over another, and each has an id and queries."""
    panels = board()["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] for panel in panels)


def test_each_alert_says_what_to_do() -> None:
    """Each with a severity; a word in double braces is one of Prometheus."""
    assert len(rules()) == 7
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
        used = re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))
        assert set(used) <= set(re.findall(r"by \(([^)]*)\)", rule["expr"])[0].split(", "))


def test_the_page_names_metrics_that_there_are() -> None:
    """And all of them."""
    page = (ROOT / "docs/how-to/monitoring.md").read_text()
    families = [
        family.name + SUFFIXES[family.type][0].replace("_bucket", "") for family in QueueCollector([]).describe()
    ]

    assert set(re.findall(r"\bpyxqueue_\w+", page)) - names() <= set(families)
    assert [name for name in families if f"`{name}" not in page] == []
