"""The benchmark programs work: they are run in a tiny size, and no number is judged."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "run.py"


EVERYWHERE = {"drain", "cpu", "enqueue", "bulk", "median", "p99", "kb1", "kb100"}
IN_BOTH_STORES = EVERYWHERE | {"types", "fail"}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the benchmarks can be imported."""
    monkeypatch.syspath_prepend(str(PROGRAM.parent))


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "expected",
    [
        {"pyxqueue": IN_BOTH_STORES | {"threads", "async", "chain", "chord"}, "bare": EVERYWHERE},
        {"pyxqueue_sqlite": IN_BOTH_STORES, "bare_sqlite": EVERYWHERE},
    ],
    ids=["redis", "sqlite"],
)
def test_smoke(tmp_path: Path, expected: dict[str, set[str]]) -> None:
    """Every measure of pyxqueue and of the bare loop has one number for the one round, and a bar; there is a page."""
    # Given
    command = [sys.executable, str(PROGRAM), "--smoke", "--only", ",".join(expected), "--save", str(tmp_path / "run")]
    # When
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Then
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads((tmp_path / "run.json").read_text())["numbers"]
    assert {name: set(found) for name, found in numbers.items()} == expected
    assert all(len(values) == 1 and values[0] >= 0 for found in numbers.values() for values in found.values())
    bars = sum(one.tag.endswith("rect") for one in ET.parse(tmp_path / "run.svg").iter()) - 1
    assert bars == sum(len(measures) for measures in expected.values())
    page = (tmp_path / "run.md").read_text()
    assert page.strip() == done.stdout.strip()
    assert re.search(r"^## (Valkey|Redis|SQLite) \d", page, re.MULTILINE), page


@pytest.mark.usefixtures("programs")
def test_a_ratio_says_how_many_times_better_the_first_one_is() -> None:
    """More tasks a second are better, and less time is; what a contestant does not offer is an empty cell."""
    report = importlib.import_module("report")
    guarantees = {"worker killed with -9": "lost", "result kept": "1 day", "from": "a page"}
    numbers = {
        "pyxqueue": {"drain": [100.0, 300.0], "median": [2.0, 2.0], "fail": [1.0, 1.0]},
        "huey": {"drain": [50.0, 50.0], "median": [1.0, 1.0]},
    }
    about = dict.fromkeys(numbers, guarantees)
    head = {"command": "make bench", "date": "2026-11-26", "machine": "two cores", "load": [0.1, 1.2], "rounds": 2}

    page = report.page({**head, "stores": {"redis": "Valkey"}, "numbers": numbers, "about": about})

    rows = [line for line in page.splitlines() if line.startswith("| huey")]
    assert rows[0].startswith("| huey | 50 (50–50) **4x** |")  # noqa: RUF001 - a range
    assert "| 1 (1–1) **0.5x** |" in rows[0]  # noqa: RUF001 - the same
    assert rows[0].endswith("| lost | 1 day |")
    assert rows[1] == "| huey |  |"
    assert all(text in page for text in ("    make bench", "2026-11-26", "two cores", "0.10 and 1.20"))


@pytest.mark.usefixtures("programs")
def test_a_contestant_that_fails_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its failure is reported and kept, and the others are measured."""
    run = importlib.import_module("run")

    def measure(name: str, phase: str, *_: object) -> dict[str, object]:
        if name == "bare":
            raise run.Failed(f"{name}, {phase}: failed")
        return {"about": {}, "numbers": {phase: 1.0}}

    monkeypatch.setattr(run, "measure", measure)

    results = run.run(["bare", "huey"], ["enqueue", "inline"], run.Scale(2, 0.0), nullcontext)

    assert results.numbers == {"huey": {"enqueue": [1.0, 1.0], "inline": [1.0, 1.0]}}
    assert results.failed == ["bare, enqueue: failed", "bare, inline: failed"] * 2


@pytest.mark.usefixtures("programs")
def test_a_contestant_on_nodejs_is_left_out_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no `node`, the run goes on without the contestant that needs it."""
    run = importlib.import_module("run")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert run.present(["pyxqueue", "bullmq", "bare"]) == ["pyxqueue", "bare"]


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(("each", "expected"), [(0.01, 100), (0.0001, 10_000), (0.3, 50), (0.00001, 50_000)])
def test_a_slow_contestant_has_fewer_calls(each: float, expected: int) -> None:
    """As many as fit into the time, at least the first warm-up, at most what a queue is filled with."""
    measure = importlib.import_module("measure")

    count = measure.fitting(measure.Sizes(1.0, 2.0, 50), lambda count: count * each, 2.0, 50)

    assert count == pytest.approx(expected)


def test_unknown_contestant() -> None:
    """A contestant that does not exist is named, and nothing runs."""
    # When
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--only", "pyxqueue,nobody"], capture_output=True, text=True, check=False
    )
    # Then
    assert done.returncode == 2
    assert "nobody" in done.stderr


@pytest.mark.soak  # a program for people, of which each row takes seconds
@pytest.mark.timeout(600)
def test_smoke_of_other_work() -> None:
    """Each row of other work than no-ops has a number."""
    program = PROGRAM.with_name("work.py")

    done = subprocess.run([sys.executable, str(program), "--smoke"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 27
    assert {"no-ops", "16 threads, tasks wait 1 ms", "async, 100 at once wait 10 ms", "idle"} <= set(rows)


def test_smoke_of_flow_control() -> None:
    """Each feature has two numbers, and the table is that of the documentation."""
    command = [sys.executable, str(PROGRAM.with_name("flow.py")), "--tasks", "20", "--rounds", "1"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[1:4] for line in done.stdout.splitlines()[4:]]
    assert all(int(client) >= 0 and int(server) >= 0 for _, client, server in rows)
    page = (PROGRAM.parent.parent / "docs" / "how-to" / "flow-control.md").read_text()
    assert {name.strip() for name, *_ in rows} == set(re.findall(r"^\| (.*) \| \d+ \| \d+ \|$", page, re.MULTILINE))


@pytest.mark.timeout(120)
def test_counts_are_those_of_the_baseline() -> None:
    """What a task costs in commands, Python calls and bytes has not grown, and each count has a baseline."""
    program = PROGRAM.with_name("counts.py")

    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert set(json.loads(program.with_suffix(".json").read_text())["counts"]) == {
        line.rsplit(maxsplit=2)[0] for line in done.stdout.splitlines()
    }


@pytest.mark.usefixtures("programs")
def test_a_count_that_has_moved_is_named() -> None:
    """A count above its baseline and its slack is reported with both numbers, and one that has fallen as far apart."""
    counts = importlib.import_module("counts")

    found = {"drain: commands": 2.0, "call: commands": 2.0, "bulk: commands": 1.04, "new": 1.0}
    baseline = {"drain: commands": 1.0, "call: commands": 4.0, "bulk: commands": 1.0}

    grown, fallen = counts.compare(found, baseline)

    assert grown == ["drain: commands: from 1 to 2, at most 1.25 is allowed"]
    assert fallen == ["call: commands: from 4 to 2"]


def test_the_shape_of_the_code() -> None:
    """What there is of the package, and the frames of each step in the memory store."""
    program = PROGRAM.with_name("shape.py")

    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    words = [line.rsplit(maxsplit=3) for line in done.stdout.splitlines()]
    frames = {line[0]: int(line[1]) for line in words if line and line[0] in {"call", "claim", "settle", "get"}}
    assert len(frames) == 4
    assert all(0 < count < 200 for count in frames.values())


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("rate", [500, 50_000])
def test_a_wait_looks_seldom_and_notices_the_end(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at 50,000 rows takes 20 ms here."""
    measure = importlib.import_module("measure")
    clock, looks = [0.0], 0

    def completed(_total: int) -> int:
        nonlocal looks
        looks += 1
        clock[0] += 0.02
        return int(max(0.0, clock[0] - 0.1) * rate)  # the workers need a moment to begin

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    measure.wait_until(SimpleNamespace(completed=completed), 50_000)

    assert looks < 60
    assert clock[0] < 1.05 * (0.1 + 50_000 / rate)
