"""Make the page and the plot of a run out of its stored numbers.

    python benchmarks/report.py latest.json     # writes latest.md and latest.svg beside it

Nothing here judges a number: what is fast enough is for the reader.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from plot import Panel, shown, svg

STORES = {
    "redis": ("pyxqueue", "bare", "bullmq", "taskiq", "huey", "streaq", "saq", "dramatiq", "rq", "celery"),
    "sqlite": ("pyxqueue_sqlite", "bare_sqlite", "huey_sqlite"),
}
NAMES = tuple(name for names in STORES.values() for name in names)
BESIDE = ("worker killed with -9", "result kept")
"""The guarantees that stand beside the numbers; the others follow in a table of their own."""


@frozen
class Measure:
    """One column of a table, and one panel of the plot."""

    key: str
    title: str
    unit: str
    more_is_better: bool = True


NOOPS = (
    Measure("drain", "drain", "tasks/s"),
    Measure("cpu", "worker CPU per task", "µs", more_is_better=False),
    Measure("enqueue", "enqueue one by one", "calls/s"),
    Measure("bulk", "enqueue in bulk", "calls/s"),
    Measure("median", "call to result, median", "ms", more_is_better=False),
    Measure("p99", "call to result, p99", "ms", more_is_better=False),
)
OTHERS = (
    Measure("kb1", "drain, 1 KB there and back", "tasks/s"),
    Measure("kb100", "drain, 100 KB there and back", "tasks/s"),
    Measure("types", "drain, 20 types of task", "tasks/s"),
    Measure("fail", "drain, each fails once", "tasks/s"),
    Measure("threads", "drain, 16 threads that wait 1 ms, 1 process", "tasks/s"),
    Measure("async", "drain, 100 coroutines that wait 10 ms, 1 process", "tasks/s"),
)
FLOWS = (
    Measure("chain", "chain of three, call to result", "ms", more_is_better=False),
    Measure("chord", "chord of 1,000, call to result", "ms", more_is_better=False),
)


def page(run: Mapping[str, Any], plot: str | None = None) -> str:
    """The page of one run, in Markdown; `plot` is the file name of its plot."""
    lines = ["# The latest run", "", f"    {run['command']}", "", f"{run['date']}. {run['machine']}.", ""]
    brackets = "the median, the least and the most in brackets, and " if run["rounds"] > 1 else ""
    lines += [
        "Load at the beginning and at the end: {:.2f} and {:.2f}.".format(*run["load"]),
        f"Rounds: {run['rounds']}.",
        f"The cells have {brackets}in bold how many times better the first line is; below 1, it is worse.",
        "[What is measured, and how](README.md#what-is-measured).",
        "",
    ]
    for store, contestants in STORES.items():
        if names := [name for name in contestants if name in run["numbers"]]:
            lines += [f"## {run['stores'][store]}", "", *_tables(run, names)]
    if plot:
        lines += ["## As bars", "", f"![Bars of every measure]({plot})", ""]
    return "\n".join(lines)


def _tables(run: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    about = run["about"]
    yield from _table(names, run["numbers"], NOOPS, {key: [about[name][key] for name in names] for key in BESIDE})
    others = [one for one in OTHERS if any(one.key in run["numbers"][name] for name in names)]
    if others:
        yield from ("Other tasks than no-ops. An empty cell: it does not offer that.", "")
        yield from _table(names, run["numbers"], others, {})
    flowing = [name for name in names if any(one.key in run["numbers"][name] for one in FLOWS)]
    if flowing:
        yield from ("Flows of no-ops, of the queues that were asked for them.", "")
        yield from _table(flowing, run["numbers"], FLOWS, {})
    yield from ("What each was set to, and what it promises, by the pages of its own documentation:", "")
    keys = [key for key in about[names[0]] if key not in BESIDE]
    yield from _rows(["", *keys], [[name, *(about[name][key] for key in keys)] for name in names])


def _table(
    names: Sequence[str],
    numbers: Mapping[str, Mapping[str, Sequence[float]]],
    measures: Sequence[Measure],
    beside: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    rows = []
    for index, name in enumerate(names):
        cells = [_cell(numbers, name, names[0], one) for one in measures]
        rows.append([name, *cells, *(texts[index] for texts in beside.values())])
    yield from _rows(["", *(f"{one.title}, {one.unit}" for one in measures), *beside], rows)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _cell(numbers: Mapping[str, Mapping[str, Sequence[float]]], name: str, first: str, one: Measure) -> str:
    found = numbers[name].get(one.key)
    if not found:
        return ""
    median = statistics.median(found)
    cell = shown(median)
    if len(found) > 1:
        cell += f" ({shown(min(found))}–{shown(max(found))})"  # noqa: RUF001 - a range
    if name == first or not numbers[first].get(one.key):
        return cell
    ours = statistics.median(numbers[first][one.key])
    better, worse = (ours, median) if one.more_is_better else (median, ours)
    if not worse:
        return cell
    ratio = better / worse
    return f"{cell} **{ratio:,.0f}x**" if ratio >= 10 else f"{cell} **{ratio:.2g}x**"


def panels(run: Mapping[str, Any]) -> list[Panel]:
    """The medians, for the plot."""
    found = []
    for store, contestants in STORES.items():
        for one in (*NOOPS, *OTHERS, *FLOWS):
            medians = {
                name: statistics.median(run["numbers"][name][one.key])
                for name in contestants
                if run["numbers"].get(name, {}).get(one.key)
            }
            better = "more is better" if one.more_is_better else "less is better"
            title = one.title if store == "redis" else f"SQLite: {one.title}"
            if medians:
                found.append(Panel(title, f"{one.unit}, {better}", medians))
    return found


def write(file: Path) -> str:
    """Write the page and the plot beside the numbers, and return the page."""
    run = json.loads(file.read_text())
    plot = file.with_suffix(".svg")
    plot.write_text(svg(panels(run)))
    text = page(run, plot.name)
    file.with_suffix(".md").write_text(text)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    print(write(parser.parse_args().file))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
