"""Every column of every table with every kind of value: what a row holds is judged row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import cycle
from pathlib import Path

import pytest
from click.testing import CliRunner

from pyxqueue import TaskQueue
from pyxqueue.backends.sqlite import backend as module
from pyxqueue.backends.sqlite.driver import Driver, DriverError, apsw, standard
from pyxqueue.backends.sqlite.schema import INLINE
from pyxqueue.cli import main
from pyxqueue.errors import PyxqueueError
from pyxqueue.model.failed import FailedLimits
from pyxqueue.model.message import Done, Extension, Fail, Message, Progress, Settlement, TaskStatus, Verdict
from pyxqueue.model.presence import Announcement, OrderKind, Process
from pyxqueue.protocols import Backend, DropsFailed, HasPresence
from pyxqueue.testing import drain
from tests.support.tasks import task_of

JUNK = {
    "text": "'abc'", "bytes": "x'ff00'", "no UTF-8": "CAST(x'ff41' AS TEXT)", "negative": "-5",
    "largest": "9223372036854775807", "smallest": "-9223372036854775808",
    "fraction": "1.5", "infinite": "9e999", "control": "char(27) || ']52;c;x' || char(10) || char(8238)",
    "long": "hex(zeroblob(300000))", "null": "NULL",
}  # fmt: skip
TASK = (
    "seq", "grp", "id", "place", "sort", "ord", "updated", "raw", "attempt", "crashes", "redelivered", "deferrals",
    "due", "consumer", "fence", "cancelled", "progress", "ended", "reason", "known_until", "record", "record_end",
    "record_fence", "fields", "priority_class", "expires",
)  # fmt: skip
OTHERS = {
    "counter": ("ticket",),
    "consumer_group": ("key", "queue", "name", "lease", "registered", "finished", "next", "paused"),
    "consumer": ("grp", "name", "seen"),
    "body": ("seq", "fields"),
    "supervisor": ("grp", "name", "seen", "keep", "text", "ordered"),
}
_ENDS: dict[str, Verdict] = {"failed": Fail("no"), "finished": Done()}
PLACES = ("ready", "held", "overdue", "delayed", "failed", "finished")


@pytest.fixture(params=["sqlite3", "apsw"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """The SQLite that queues use, also those of the command line."""
    found = standard() if request.param == "sqlite3" else apsw()
    assert found is not None
    monkeypatch.setattr(module, "best", lambda: found)
    return found


@pytest.fixture
def queue(file: Path, driver: Driver) -> Iterator[TaskQueue]:
    """A queue with three tasks."""
    with closing(TaskQueue(f"sqlite:///{file}", stream_key="q", max_payload=10_000)) as queue:
        queue.task(name="good")(lambda: "good")
        queue.task(name="job", retries=1, backoff=0)(fail)
        yield queue


def store(queue: TaskQueue) -> Backend:
    return queue.stores.backend


def fill(queue: TaskQueue, driver: Driver, file: Path, names: Sequence[str]) -> list[str]:
    """A task in each place, for each name; answers their ids."""
    backend, ids = store(queue), []
    backend.claim("w", 0, 0)
    assert isinstance(backend, HasPresence)
    backend.announce(
        "s", 60_000, Announcement("web1", 7, "1", "3", [], 0, False, {"w": Process(8, 1, 1, 1, [])}).text()
    )
    backend.give_order("s", OrderKind.DRAIN)
    for place in ("failed", "finished", "overdue", "held", "ready", "delayed"):
        new = [f"{place}.{name}" for name in names]
        ids += new
        backend.enqueue(
            [
                Message(task_id, "job", body, delay_ms=60_000 * (place == "delayed"))
                for task_id, body in zip(
                    new, cycle((b"", bytes(INLINE)))
                )  # of every second task, the bytes are in `body`
            ]
        )
        if place not in {"ready", "delayed"}:
            deliveries = backend.claim("w", len(new), 0)
            verdict = _ENDS.get(place)
            backend.settle([Settlement(one.receipt, verdict) for one in deliveries if verdict is not None])
    write(driver, file, "UPDATE task SET sort = 5 WHERE id LIKE 'overdue.%'")
    return ids


def fail() -> None:
    raise ValueError("\x1b[31m")


def write(driver: Driver, file: Path, *statements: str) -> None:
    """As another program. What the schema does not allow is left out."""
    with closing(driver.connect(f"{file.as_uri()}?mode=rw")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for sql in statements:
            with suppress(DriverError):
                connection.execute(sql)
        connection.execute("COMMIT")


def allowed(action: Callable[[], object]) -> None:
    """It answers, or raises an error of ours."""
    with suppress(PyxqueueError):
        action()


def work(queue: TaskQueue) -> None:
    """What programs and workers do: answers, or errors of ours, and a good task runs."""
    backend = store(queue)
    handle = task_of(queue, "good")()
    for action in (
        lambda: backend.forget(["ready"]),
        lambda: backend.extend([Extension("1.2", Progress(1))]),
        lambda: backend.settle([Settlement("1.2", Done())]),
        lambda: backend.maintain(10) / 1000,
        lambda: backend.lease_ms() / 3000,
    ):
        allowed(action)
    drain(queue)
    assert handle.get(timeout=0) == "good"


def look(queue: TaskQueue, ids: list[str]) -> None:
    """Answers, or errors of ours; pages end."""
    backend = store(queue)
    for action in (
        backend.depth, backend.consumers, backend.groups, lambda: backend.show(ids), lambda: backend.wait(ids, 0),
        lambda: backend.wait(ids, 0), queue.get_tasks, queue.get_workers, lambda: backend.watch(ids[0], None, 0),
        queue.admin.workers, lambda: queue.admin.drain("web1"),
        *(lambda state=state: pages(backend, state) for state in (None, *TaskStatus)),
        *(lambda task_id=task_id: queue.get_task(task_id) for task_id in ids[::7]),
        *(lambda task_id=task_id: queue.result(task_id).get(timeout=0) for task_id in ids[::7]),
    ):  # fmt: skip
        allowed(action)


def pages(backend: Backend, state: TaskStatus | None) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    cursor, turns = "", 0
    while turns == 0 or cursor:
        page, cursor = backend.tasks(state, cursor, 20)
        ids += [info.id for info in page]
        turns += 1
        assert turns < 500, "the pages have no end"
    assert len(ids) == len(set(ids))
    return ids


def tend(queue: TaskQueue, ids: list[str]) -> None:
    backend = store(queue)
    assert isinstance(backend, HasPresence)
    backend.announce("s", 60_000, "{}")
    backend.leave("t")
    assert isinstance(backend, DropsFailed)
    for action in (
        lambda: backend.drop_failed(FailedLimits(0, 0), 3),
        lambda: backend.release("w", []), lambda: backend.cancel(ids), lambda: backend.requeue(ids),
        lambda: backend.forget(ids), lambda: backend.delete(ids[:2]),
    ):  # fmt: skip
        allowed(action)


@pytest.mark.parametrize("column", TASK)
def test_no_value_in_a_row_stops_anybody(queue: TaskQueue, driver: Driver, file: Path, column: str) -> None:
    """Of a task in each place: good tasks run before and after, nothing but errors of ours leaves the library."""
    ids = fill(queue, driver, file, [str(number) for number in range(len(JUNK))])
    junk = [
        f"UPDATE task SET {column} = {value} WHERE id = '{place}.{number}'"
        for number, value in enumerate(JUNK.values())
        for place in PLACES
    ]
    write(driver, file, *junk)

    work(queue)
    look(queue, ids)
    tend(queue, ids)
    work(queue)


COLUMNS = [(table, column) for table, columns in OTHERS.items() for column in columns]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[".".join(one) for one in COLUMNS])
def test_no_value_beside_the_rows_stops_anybody(
    queue: TaskQueue, driver: Driver, file: Path, table: str, column: str
) -> None:
    """The counter, the groups, the consumers, the bytes: the same."""
    for value in JUNK.values():
        ids = fill(queue, driver, file, ["x", "y"])
        write(driver, file, f"UPDATE {table} SET {column} = {value}")
        work(queue)
        look(queue, ids)
        tend(queue, ids)


@pytest.mark.parametrize(
    "sql", ["DELETE FROM counter", "DELETE FROM body", "UPDATE task SET fields = NULL", "DELETE FROM consumer_group"]
)
def test_what_is_missing_stops_nobody(queue: TaskQueue, driver: Driver, file: Path, sql: str) -> None:
    """A counter that is gone is found again; a task without bytes cannot be read, and is with the failed tasks."""
    ids = fill(queue, driver, file, ["x", "y"])
    write(driver, file, sql)

    work(queue)
    look(queue, ids)
    tend(queue, ids)
    work(queue)


@pytest.mark.parametrize(
    "words",
    [["info"], ["info", "--json"], ["tasks"], ["tasks", "--json"], ["failed"], ["failed", "--json"],
     ["groups"], ["retry", "--all-failed"], ["purge", "--all", "--yes"]],
    ids=" ".join,
)  # fmt: skip
def test_no_value_ends_a_command(queue: TaskQueue, driver: Driver, file: Path, words: list[str]) -> None:
    """It says what there is, in text that moves no cursor, and ends with 0."""
    names = [str(number) for number in range(len(TASK) * len(JUNK))]
    fill(queue, driver, file, names)
    statements = [
        f"UPDATE task SET {column} = {value} WHERE id LIKE '%.{number * len(TASK) + at}'"
        for number, value in enumerate(JUNK.values())
        for at, column in enumerate(TASK)
    ]
    write(driver, file, *statements)

    result = CliRunner().invoke(main, ["--url", f"sqlite:///{file}", "--queue", "q", *words])

    assert result.exit_code == 0, result.output
    assert result.output.replace("\n", "").isprintable()


NAMES = ("\x1b]52;c;x\x07", "a\nERROR forged", "\u202eq", "[/x]", "a/b", " ", "\0removed 5", "x" * 5_000)
"""Of queues, groups and consumers."""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["info"], 0),
        (["info", "--json"], 0),
        (["--queue", "q", "info"], 0),
        (["--queue", "q", "info", "--json"], 0),
        (["--queue", "q", "--group", "cg", "info"], 0),
        (["--queue", "q", "groups"], 0),
        (["--queue", "q", "--group", "nope", "info"], 1),
    ],
)
def test_names_that_somebody_has_made_up_are_printable(
    queue: TaskQueue, driver: Driver, file: Path, words: list[str], code: int
) -> None:
    """They forge no line, in answers and in refusals."""
    store(queue).lease_ms()
    with closing(driver.connect(f"{file.as_uri()}?mode=rw")) as connection:
        for number, name in enumerate(NAMES):
            group = "INSERT INTO consumer_group VALUES (?, ?, ?, 30000, 1, 0, 0, 0)"
            connection.execute(group, (1_000 + number, name, "cg"))
            connection.execute(group, (2_000 + number, "q", name))
            connection.execute("INSERT INTO consumer SELECT key, ?, 1 << 50 FROM consumer_group", (name,))

    result = CliRunner().invoke(main, ["--url", f"sqlite:///{file}", *words])

    assert result.exit_code == code, result.output
    assert result.output.replace("\n", "").isprintable()
    assert "\nERROR forged" not in result.output
