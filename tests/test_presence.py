"""Announcements: what a supervisor says is bounded, and whatever another program has put there is read or left out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue import TaskQueue
from pyxqueue.cli import main
from pyxqueue.errors import UnknownWorkerError
from pyxqueue.hosts import MAX_HOST, host_name
from pyxqueue.model.presence import (
    MAX_PARAMETERS_BYTES,
    MAX_RUNS,
    MAX_TASKS,
    MAX_TASKS_BYTES,
    MAX_TEXT,
    Announcement,
    Order,
    OrderKind,
    Present,
    Process,
    facts_about,
    facts_of,
    some_names,
    some_parameters,
)
from pyxqueue.protocols import HasPresence

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists)
HOSTILE = "\x1b]52;c;x\x07\nERROR forged\u202e"
WORKER = "worker-1-4242-0242ac120002-1e9gmXli"


def announcement(host: str = "web1", worker: str = WORKER, **changes: object) -> str:
    process = {"pid": 4242, "age_ms": 5, "slots": 1, "rss": 1, "runs": [["t1", 3]]}
    said = {
        "host": host, "pid": 7, "pyxqueue": "1", "python": "3", "tasks": ["job"], "more_tasks": 0, "draining": False,
        "workers": {worker: {**process, **{name: changes.pop(name) for name in list(changes) if name in process}}},
    }  # fmt: skip
    return json.dumps({**said, **changes})


HOSTILE_TEXTS = {
    "nothing": "",
    "not JSON": "{",
    "no announcement": "[]",
    "deep": "[" * 100_000,
    "1 MiB": "x" * (1 << 20),
    "1 MiB of JSON": announcement(tasks=["x" * (1 << 20)]),
    "a wrong type": announcement(pid="7"),
    "no workers": announcement(workers=[]),
    "a number of a million digits": announcement().replace("4242,", "9" * 1_000_000 + ","),
    "a huge number": announcement(pid=10**30),
    "a negative number": announcement(age_ms=-(10**15)),
    "a huge age": announcement(age_ms=2**63 - 1),
    "huge memory": announcement(rss=2**63 - 1),
    "a run of a wrong type": announcement(runs=[["t1"]]),
    "a hostile host": announcement(HOSTILE * 100),
    "a hostile worker": announcement(worker=HOSTILE),
    "hostile versions": announcement(pyxqueue=HOSTILE * 1_000, python=HOSTILE),
    "hostile tasks": announcement(tasks=[HOSTILE] * 5_000),
    "hostile runs": announcement(runs=[[HOSTILE, 5]] * 500),
    "many workers": announcement(workers={}).replace("{}", "{" + ",".join(
        f'"w{number}":{{"pid":1,"age_ms":1,"slots":1,"rss":1,"runs":[]}}' for number in range(3_000)
    ) + "}"),
}  # fmt: skip


@given(st.text() | VALUES.map(json.dumps) | st.dictionaries(st.text(), VALUES).map(json.dumps))
def test_whatever_was_announced(text: str) -> None:
    """What is no announcement is left out, and nothing raises."""
    assert Announcement.read(text) is None
    assert facts_of([Present("s", text, 1_000, fresh=True)]) == {}


@given(st.text(max_size=30) | st.builds(lambda number, kind: f"{number} {kind}", st.integers(), st.text(max_size=9)))
def test_whatever_was_ordered(text: str) -> None:
    """A text is an order, or none."""
    order = Order.read(text)

    assert order is None or order.number >= 0


@pytest.mark.parametrize("kind", OrderKind)
def test_an_order_is_read_again(kind: OrderKind) -> None:
    """What a store keeps of it is the order."""
    assert Order.read(Order(kind, 12).text()) == Order(kind, 12)


def test_a_usual_announcement_says_all() -> None:
    """Times are those of the store."""
    (facts,) = facts_of([Present("s", announcement(), 1_000, fresh=True)]).values()

    assert (facts.host, facts.pid, facts.supervisor, facts.lost) == ("web1", 4242, 7, False)
    assert (facts.started_ms, facts.runs[0].id, facts.runs[0].since_ms) == (995, "t1", 997)


def test_what_was_said_last_counts() -> None:
    """A worker that two supervisors name is where the later one says; others are not decoded when one is asked for."""
    old = Present("a", announcement("web1"), 1_000, fresh=True)
    new = Present("b", announcement("web2"), 2_000, fresh=False)
    other = Present("c", "{", 3_000, fresh=True)

    assert facts_of([new, old])[WORKER].host == "web2"
    found = facts_about([WORKER], [other, new, old])
    assert (found[WORKER].host, found[WORKER].lost) == ("web2", True)
    assert facts_about(["nobody"], [old, new]) == {}


@given(st.lists(st.text(st.characters(), max_size=200), max_size=400))
def test_names_of_tasks_are_bounded(names: list[str]) -> None:
    """An announcement has as many as there is room for, and says how many there are."""
    found, more = some_names(names)

    assert len(found) + more == len(names)
    assert len(found) <= MAX_TASKS
    assert sum(len(name.encode()) for name in found) <= MAX_TASKS_BYTES


def test_parameters_for_which_there_is_no_room() -> None:
    """Of these an announcement says nothing; shorter ones behind them have some. Half a surrogate pair is written."""
    half = "x" * (MAX_PARAMETERS_BYTES // 2 + 1)

    assert some_parameters([half, half, "(a1)", "\ud800"]) == [half, "", "(a1)", "?"]


def test_the_largest_announcement_is_read() -> None:
    """64 workers of 20 runs each, with as many tasks and parameters as there is room for."""
    tasks, more = some_names(f"{number:04}" + "x" * 50 for number in range(1_000))
    parameters = some_parameters("x" * 100 for _ in range(1_000))
    runs = [("t" * 64, 1)] * MAX_RUNS
    workers = {f"{WORKER}{number}": Process(1, 1, 1, 1, runs) for number in range(64)}
    text = Announcement("h" * MAX_HOST, 1, "1.0.0", "3.14.0", tasks, more, False, workers, parameters).text()

    assert len(text.encode()) <= MAX_TEXT
    assert len(facts_of([Present("s", text, 1, fresh=True)])) == 64


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("web1", "web1"),
        ("  web1  ", "web1"),
        ("two words", "two-words"),
        ("a\nb\tc", "a-b-c"),
        ("x" * 500, "x" * MAX_HOST),
        ("\x1b[2J", r"\x1b[2J"),
        ("größe", "größe"),
    ],
)
def test_the_name_of_a_host(monkeypatch: pytest.MonkeyPatch, given_name: str, name: str) -> None:
    """It is one printable word of limited length."""
    monkeypatch.setenv("PYXQUEUE_HOST", given_name)

    assert host_name() == name


@pytest.mark.parametrize("empty", ["", "  "])
def test_a_host_without_a_given_name(monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    """It has that of the system, or says that it is unknown."""
    monkeypatch.setenv("PYXQUEUE_HOST", empty)
    monkeypatch.setattr("pyxqueue.hosts.socket", SimpleNamespace(gethostname=lambda: "real"))
    assert host_name() == "real"
    monkeypatch.setattr("pyxqueue.hosts.socket", SimpleNamespace(gethostname=lambda: ""))
    assert host_name() == "unknown"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def queue(url: str) -> Iterator[TaskQueue]:
    """A queue with a task that a worker holds."""
    with closing(TaskQueue(url, stream_key="q")) as queue:
        queue.task(name="job")(print).with_options(task_id="t1")()
        queue.stores.backend.claim(WORKER, 1, 0)
        yield queue


def announce(queue: TaskQueue, text: str) -> None:
    assert isinstance(queue.stores.backend, HasPresence)
    queue.stores.backend.announce(HOSTILE, 60_000, text)


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS.keys())
def test_a_hostile_announcement_stops_nobody(queue: TaskQueue, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The worker is shown all the same, orders are refused in words, and its work is taken over."""
    announce(queue, text)

    (worker,) = queue.admin.workers()
    assert worker.name == WORKER
    assert worker.host.isprintable()
    assert len(worker.host) <= MAX_HOST
    with pytest.raises(UnknownWorkerError) as refused:
        queue.admin.drain("nobody")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 5_000
    assert len(worker.facts.tasks if worker.facts else ()) <= MAX_TASKS
    assert all(one.getMessage().isprintable() for one in caplog.records if one.levelno >= logging.WARNING)


def test_an_unknown_worker(queue: TaskQueue) -> None:
    """The error lists the workers that there are."""
    announce(queue, announcement("web1"))

    with pytest.raises(UnknownWorkerError, match="no worker or host 'web2' here: the workers are web1:4242"):
        queue.admin.drain("web2")


@pytest.mark.parametrize(
    "words", [["info"], ["info", "--json"], ["top"], ["top", "--json"], ["drain", "nobody"]], ids=" ".join
)
def test_no_announcement_reaches_a_terminal_unescaped(queue: TaskQueue, url: str, words: list[str]) -> None:
    """Commands end as usual, and what they print moves no cursor and forges no line."""
    for name, text in HOSTILE_TEXTS.items():
        announce(queue, text)

        result = CliRunner().invoke(main, ["--url", url, "--queue", "q", *words])

        assert result.exit_code == (1 if "drain" in words else 0), (name, result.output)
        assert result.output.replace("\n", "").isprintable(), name
        assert "\nERROR forged" not in result.output, name
