"""Compare task queues with each other: same machine, same store, same number of processes, taking turns.

Nothing here judges a number: what is fast enough is for the reader.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attrs import frozen
from contestants.base import ANSWER, PROCESSES
from environments import Missing, interpreter, pins
from plot import svg

from pyxqueue.testing.servers import Server

HERE = Path(__file__).parent
STORES = {
    "redis": ("pyxqueue", "bare", "bullmq", "taskiq", "huey", "streaq", "saq", "dramatiq", "rq", "celery"),
    "sqlite": ("pyxqueue_sqlite", "bare_sqlite", "huey_sqlite"),
}
NAMES = tuple(name for names in STORES.values() for name in names)
SLOW = frozenset({"taskiq", "huey", "streaq", "saq", "dramatiq", "rq", "celery"})
SLOW_SHARE = 5
"""These contestants get one of so many tasks: their rates are as exact, and nobody waits for minutes."""
PHASES = ("enqueue", "drain", "latency")
PACKAGES = ("redis", "hiredis", "huey", "taskiq", "taskiq-redis", "apsw")


@frozen
class Measure:
    """One column of the table."""

    key: str
    title: str
    unit: str
    more_is_better: bool


MEASURES = (
    Measure("drain", "drain", "tasks/s", True),
    Measure("cpu", "worker CPU per task", "µs", False),
    Measure("enqueue", "enqueue one by one", "calls/s", True),
    Measure("bulk", "enqueue in bulk", "calls/s", True),
    Measure("median", "call to result, median", "ms", False),
    Measure("p99", "call to result, p99", "ms", False),
)


@frozen
class Results:
    """The results of all rounds."""

    about: Mapping[str, Mapping[str, str]]
    numbers: Mapping[str, Mapping[str, list[float]]]
    """By contestant and measure, one per round."""


def measure(name: str, phase: str, url: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Run one phase of one contestant in a process of its own."""
    share = SLOW_SHARE if name in SLOW else 1
    words = [word for size, value in sizes.items() for word in (f"--{size}", str(max(5, value // share)))]
    command = [interpreter(name), str(HERE / "measure.py"), name, "--phase", phase, "--url", url, *words]
    # A file, not a pipe: a worker that is slow to end would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)  # noqa: S603 - ours
        output.seek(0)
        said = output.read()
    answers = [line for line in said.splitlines() if line.startswith(ANSWER)]
    if done.returncode != 0 or not answers:
        raise SystemExit(f"{name}, {phase}: failed with {done.returncode}\n{said}")
    answer: dict[str, Any] = json.loads(answers[-1].removeprefix(ANSWER))
    return answer


@contextmanager
def server() -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """One private server; each measurement empties it first."""
    with Server() as started:
        print(f"server: {started.kind}", file=sys.stderr)
        yield lambda: nullcontext(started.url)


@contextmanager
def file(durability: str) -> Iterator[str]:
    """A file that is not there yet, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/bench.db?durability={durability}"


def run(
    names: Sequence[str], rounds: int, sizes: Mapping[str, int], place: Callable[[], AbstractContextManager[str]]
) -> Results:
    """All rounds: in each, the contestants take turns in every phase, each at a `place` of its own."""
    about: dict[str, dict[str, str]] = {}
    numbers: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for number in range(rounds):
        for phase in PHASES:
            for name in names:
                print(f"round {number + 1} of {rounds}: {phase}, {name}", file=sys.stderr)
                with place() as url:
                    answer = measure(name, phase, url, sizes)
                about[name] = answer["about"]
                for key, value in answer["numbers"].items():
                    numbers[name].setdefault(key, []).append(value)
    return Results(about, numbers)


def table(results: Results) -> list[str]:
    """Medians, in brackets the least and the most, and how many times better the first contestant is."""
    names = list(results.numbers)
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for one in MEASURES:
        medians = [statistics.median(results.numbers[name][one.key]) for name in names]
        cells = []
        for name, median in zip(names, medians, strict=True):
            found = results.numbers[name][one.key]
            ratio = medians[0] / median if one.more_is_better else median / medians[0] if medians[0] else 0.0
            times = "" if name == names[0] else f" **{ratio:.2g}x**"
            cells.append(f"{_show(median)} ({_show(min(found))}–{_show(max(found))}){times}")  # noqa: RUF001 - a range
        lines.append(f"| {one.title}, {one.unit} | {' | '.join(cells)} |")
    keys = next(iter(results.about.values()))
    return lines + [f"| {key} | {' | '.join(results.about[name][key] for name in names)} |" for key in keys]


def panels(results: Results) -> list[tuple[str, dict[str, float]]]:
    """The medians, for the plot."""
    return [
        (
            f"{one.title}, {one.unit}",
            {name: statistics.median(found[one.key]) for name, found in results.numbers.items()},
        )
        for one in MEASURES
    ]


def present(names: Sequence[str]) -> list[str]:
    """Make the environments of the contestants, and leave out those that this machine cannot run."""
    found = []
    for name in names:
        try:
            interpreter(name)
        except Missing as error:
            print(f"{name} does not take part: {error}")
        else:
            found.append(name)
    return found


def _show(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def machine() -> str:
    """Where this was measured."""
    found = []
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    cpus = f"{os.cpu_count()} CPUs ({platform.machine()}), {platform.system()}, Python {platform.python_version()}"
    found += [pin for name in NAMES for pin in pins(name)]
    return f"{cpus}; {', '.join(found)}"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000, help="tasks in the queue that is drained")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help=f"contestants, separated by commas; all: {','.join(NAMES)}")
    parser.add_argument("--durability", choices=("normal", "full"), default="normal", help="of the SQLite files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the medians there")
    parser.add_argument("--quick", action="store_true", help="half the tasks, one round")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, one round: do the programs work at all?")
    options = parser.parse_args(words)
    options.names = options.only.split(",") if options.only else list(NAMES)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such contestant: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    options = arguments()
    tasks, rounds = (options.tasks // 2, 1) if options.quick else (options.tasks, options.rounds)
    if options.smoke:
        tasks, rounds = 20, 1
    sizes = {
        "drain": tasks,
        "enqueue": max(5, tasks // 2),
        "latency": max(5, tasks // 10),
        "warm-up": max(5, tasks // 10),
    }
    everything = []
    for store, contestants in STORES.items():
        if names := present([one for one in options.names if one in contestants]):
            with server() if store == "redis" else nullcontext(partial(file, options.durability)) as place:
                everything.append(run(names, rounds, sizes, place))
            print("\n".join(table(everything[-1])))
            if len(names) > 1:
                print(f"\nBold: how many times better {names[0]} is; below 1 it is worse.\n")
    print(f"{rounds} rounds, {tasks:,} tasks, {PROCESSES} worker processes each. {machine()}.")
    if options.svg:
        options.svg.write_text(svg([panel for results in everything for panel in panels(results)]))
    if options.json:
        content = {
            "machine": machine(),
            "sizes": sizes,
            "about": {name: about for results in everything for name, about in results.about.items()},
            "numbers": {name: numbers for results in everything for name, numbers in results.numbers.items()},
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
