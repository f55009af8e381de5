"""How an older file is brought forward."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend, broker, claiming, group, schedules, schema, settling
from pyxqueue.backends.sqlite.driver import Driver, DriverError, apsw, standard
from pyxqueue.clock import FakeClock
from pyxqueue.model.locks import LockKind, lock_text
from pyxqueue.model.message import Done, Message, Retry, Settlement, StartStatus
from pyxqueue.model.past import attempts_in
from pyxqueue.model.presence import OrderKind
from pyxqueue.model.rates import Pace
from pyxqueue.model.schedules import Schedule
from pyxqueue.model.ticks import Timing
from pyxqueue.protocols import Changed, ScheduleChange, StoreOptions, rates_of

from ..test_layouts import says
from .conftest import Open, ask

SCHEMA_2 = Path(__file__).parents[1] / "data" / "schema2"
MADE = 1_795_658_446_767
"""When that file was made, in ms."""

NEXT = "ALTER TABLE task ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'"


def test_an_older_file_keeps_its_tasks(open_store: Open, file: Path) -> None:
    """The steps between its version and ours are made, and the tasks get what is new."""
    # Given
    backend = open_store()
    backend.enqueue([Message("a", "kit.job")])
    backend.close()
    # When
    with closing(standard().connect(f"file:{file}?mode=rw")) as connection:
        schema.bring_forward(connection, str(file), {schema.VERSION: [NEXT]}, version=schema.VERSION + 1)
        # Then
        assert connection.execute("SELECT id, colour FROM task") == [("a", "blue")]
        assert schema.stamp(connection) == (schema.APPLICATION_ID, schema.VERSION + 1)


def test_a_step_that_fails_changes_nothing(open_store: Open, file: Path) -> None:
    """The file is as it was, and is still a store of the old version."""
    # Given
    backend = open_store()
    backend.enqueue([Message("a", "kit.job")])
    backend.close()
    # When
    with closing(standard().connect(f"file:{file}?mode=rw")) as connection, pytest.raises(DriverError):
        schema.bring_forward(
            connection, str(file), {schema.VERSION: [NEXT, "no such statement"]}, version=schema.VERSION + 1
        )
    # Then
    again = open_store()
    assert again.enqueue([Message("a", "kit.job")]) == [False]
    assert "colour" not in str(ask(again, "SELECT sql FROM sqlite_master"))


@pytest.fixture
def schema_2(file: Path) -> Path:
    """A file of schema 2."""
    shutil.copy(SCHEMA_2 / "sqlite.db", file)
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("driver", [standard(), apsw()], ids=["sqlite3", "apsw"])
def test_a_file_of_schema_2_is_migrated(schema_2: Path, driver: Driver) -> None:
    """Every task is shown as before, and has its message in its row unless it is large."""
    told = json.loads((SCHEMA_2 / "sqlite.json").read_text())

    for name, tasks in told.items():
        with closing(SQLiteBackend(schema_2, StoreOptions("shop", name), driver=driver)) as backend:
            assert {info.id: says(info) for info in backend.show(list(tasks)) if info is not None} == tasks
            assert ask(backend, "PRAGMA user_version") == [(schema.VERSION,)]
            large = ask(backend, "SELECT id FROM task JOIN body USING (seq) WHERE task.fields IS NULL ORDER BY id")
            assert [row[0] for row in large] == ["large", "large", "large-success", "large-success"]
            assert ask(backend, "SELECT count(*) FROM body") == [(4,)]
            assert ask(backend, "SELECT id FROM task WHERE fields IS NULL AND id NOT LIKE 'large%'") == [("trimmed",)]


def test_work_goes_on_in_a_migrated_file(schema_2: Path) -> None:
    """The order of what is ready, the receipts and the times are those of before."""
    clock = FakeClock(MADE)
    with closing(SQLiteBackend(schema_2, StoreOptions("shop", "cg"), driver=standard(), clock=clock)) as backend:
        ((held,),) = ask(backend, "SELECT seq || '.' || fence FROM task WHERE id = 'crashed' AND place = 2")
        deliveries = backend.claim("two", 9, 0)

        assert [one.message.id for one in deliveries] == ["large", "ready"]
        assert backend.settle([Settlement(receipt, Done()) for receipt in (held, deliveries[0].receipt)]) == [True] * 2
        clock.advance(2_000_000_000_000)
        assert [one.message.id for one in backend.claim("two", 9, 0)] == [
            "ready",
            "failed-again",
            "deferred",
            "delayed",
        ]


def test_a_file_of_schema_3_is_migrated(file: Path) -> None:
    """It has the table of schedules and priority classes, and every task as before."""
    shutil.copy(SCHEMA_2.with_name("schema3") / "sqlite.db", file)
    file.chmod(0o600)
    with closing(SQLiteBackend(file, StoreOptions("shop", "cg"), clock=FakeClock())) as backend:
        shown = {info.id: info.status.name for info in backend.tasks()[0]}
        assert shown == {
            "ready": "PENDING",
            "delayed": "PENDING",
            "large": "PENDING",
            "held": "STARTED",
            "done": "SUCCESS",
        }
        assert ask(backend, "PRAGMA user_version") == [(schema.VERSION,)]
        call = Message("s", "kit.job", b"[]")
        one = Schedule("s", Timing(every_ms=1_000), call, mark="1", next_ms=5)
        assert backend.schedules().change(ScheduleChange("s", "", one)) is Changed.DONE
        assert list(backend.schedules().due(9).schedules) == [one]
        backend.enqueue([Message("low", "kit.job", priority=-1), Message("high", "kit.job", priority=60)])
        assert [one.message.id for one in backend.claim("two", 9, 0)] == ["high", "ready", "large", "low"]
        rates = rates_of(backend)
        assert rates is not None
        rates.set_rate("api", Pace(1, 1_000_000))
        backend.enqueue([Message(one, "kit.job", gates=("rate:api/",), v=2) for one in ("first", "second")])
        (first,) = backend.claim("two", 9, 0)
        assert backend.begin([first.receipt]) == [StartStatus.RUN]
        assert [gate.waiting for gate in rates.gates(9) if gate.name == "rate:api/"] == [1]
        backend.enqueue([Message(f"fair{n}", "kit.job", share=1_000, tenant="a", v=2) for n in range(3)])
        assert [one.waiting for one in backend.fair_lines().tenants(9)] == [3]
        assert [one.message.id for one in backend.claim("two", 9, 0)] == ["fair0", "fair1", "fair2"]
        backend.enqueue([
            Message("after", "kit.job", flow="a-flow", after=("before",), expires_ms=2**50, v=2),
            Message("before", "kit.job", flow="a-flow", successors=("f:after",), v=2),
        ])  # fmt: skip
        assert backend.depth().dependent == 1


def test_a_file_without_supervisors_gets_them(open_store: Open, file: Path) -> None:
    """One of schema 14 with tasks in it: they are as before, and supervisors announce themselves and take over."""
    with closing(open_store()) as backend:
        backend.enqueue([Message("held", "kit.job"), Message("ready", "kit.job")])
        (held,) = backend.claim("one", 1, 0)
        backend.settle([Settlement(held.receipt, Retry(0, '[1,"E","x",1,"one"]'))])
        (held,) = backend.claim("one", 1, 0)
    with closing(standard().connect(f"file:{file}?mode=rw")) as connection:
        connection.execute("DROP TABLE supervisor")
        connection.execute("PRAGMA user_version = 14")

    backend = open_store()

    assert ask(backend, "PRAGMA user_version") == [(schema.VERSION,)]
    assert sorted(info.id for info in backend.tasks()[0]) == ["held", "ready"]
    assert backend.present() == []
    assert backend.announce("s", 60_000, "here") is None
    assert backend.give_order("s", OrderKind.DRAIN)
    assert [one.text for one in backend.present()] == ["here"]
    assert backend.release("one", [], {held.receipt: '[2,"E","y",2,"one"]'}) == 1
    (info,) = backend.show(["held"])
    assert info is not None
    assert info.readable is not None
    assert [one.text for one in attempts_in(info.readable.past)] == ["x", "y"]


def release(backend: SQLiteBackend, limit: int = 9) -> list[str]:
    """Claim, settle, and return the ids."""
    found = backend.claim("two", limit, 0)
    assert backend.settle([Settlement(one.receipt, Done()) for one in found]) == [True] * len(found)
    return [one.message.id for one in found]


@pytest.mark.parametrize("driver", [standard(), apsw()], ids=["sqlite3", "apsw"])
@pytest.mark.parametrize("version", [4, 5, 6, 7, 8])
def test_files_of_later_schemas_are_migrated(file: Path, version: int, driver: Driver) -> None:
    """The tasks are as before, and what came with each schema goes on: schedules, priorities, locks, a pause, expiries,
    limits."""
    shutil.copy(SCHEMA_2.with_name(f"schema{version}") / "sqlite.db", file)
    file.chmod(0o600)
    clock = FakeClock()
    with closing(SQLiteBackend(file, StoreOptions("shop", "cg"), driver=driver, clock=clock)) as backend:
        assert ask(backend, "PRAGMA user_version") == [(schema.VERSION,)]
        statuses = {info.id: info.status.name for info in backend.tasks()[0]}
        usual = {"held": "STARTED", "done": "SUCCESS", "failed": "FAILURE", "ready": "PENDING", "delayed": "PENDING"}
        assert {name: statuses[name] for name in usual} == usual
        assert backend.requeue(["failed"]) == [True]
        ((held,),) = ask(backend, "SELECT seq || '.' || fence FROM task WHERE id = 'held'")
        assert backend.settle([Settlement(held, Done())]) == [True]

        (beat,) = backend.schedules().get(["beat"])
        assert beat is not None
        assert backend.schedules().change(ScheduleChange("beat", "1", None)) is Changed.DONE
        if version >= 6:
            names = [lock_text(kind, name)[1:] for kind, name in LOCKS.items()]
            assert backend.lock_holders(names) == ["unique", "throttled", "debounced"]
        if version >= 7:
            assert (backend.is_paused(), backend.claim("two", 9, 0)) == (True, [])
            assert backend.resume()

        wanted = [["ready"], ["high", "ready"], ["high", "ready", "unique", "throttled"]]
        wanted += [[*wanted[2], "expires"], [*wanted[2], "expires", "gated1"]]
        low = ["low"] * (version >= 5)
        found = release(backend, 20)
        assert [name for name in found if name != "failed"] == [*wanted[version - 4], *low]
        if version == 8:
            gates = {gate.name: (gate.used, gate.waiting, gate.limit) for gate in backend.limits().gates(9)}
            assert gates == {"api/": (1, 1, 1)}
            assert {one.name: one.number for one in backend.limits().numbers()} == {"api": 1, "gpu": 3}
            assert [release(backend), release(backend)] == [["gated2"], ["gated3"]]
        if version >= 6:
            assert backend.lock_holders(names) == ["", "throttled", "debounced"]
        clock.advance(60_001)
        backend.maintain(256)
        assert release(backend) == [*["debounced"] * (version >= 6), "delayed"]


LOCKS = {LockKind.FINISHED: b"u", LockKind.WINDOW: b"w", LockKind.DEBOUNCE: b"d"}
BY_INDEX = "INDEX task_"
BY_NUMBER = "task USING INTEGER PRIMARY KEY"
PLANS = {
    "the first of a place": (f"SELECT sort FROM task WHERE {schema.AT} ORDER BY sort LIMIT 1", BY_INDEX),
    "a range of a place": (f"SELECT sort FROM task WHERE {schema.AT} AND sort <= 9 ORDER BY sort LIMIT 9", BY_INDEX),
    "a change of a range": (f"UPDATE task SET sort = 9 WHERE {schema.AT} AND sort <= 9", BY_INDEX),
    "by id": ("SELECT seq FROM task WHERE grp = ? AND id IN ({many})", BY_INDEX),
    "the first ready ones": (claiming.FIRST_READY, BY_INDEX),
    "a line": (claiming.LINE, BY_INDEX),
    "what is not of class 0": (f"SELECT seq FROM {schema.PRIORITIZED} LIMIT 1", BY_INDEX),
    "the outlook": (broker.NEXT, BY_INDEX),
    "new tasks": (f"SELECT seq FROM {schema.NEW_TASKS} ORDER BY seq LIMIT 9", BY_NUMBER),
    "what is held": (settling.CURRENT.replace("{}", "{many}"), BY_NUMBER),
    "what is held, unusual": (group.IN_FLIGHT_ROWS.replace("{}", "{many}"), BY_NUMBER),
    "the first schedule": (schedules.FIRST, "INDEX schedule_next"),
    "the schedules that are due": (schedules.DUE, "INDEX schedule_next"),
    "what is lent": (claiming.LEND.replace("{}", "{many}"), BY_NUMBER),
}


@pytest.mark.parametrize(("query", "wanted"), PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("driver", [standard(), apsw()], ids=["sqlite3", "apsw"])
def test_the_plans_read_no_more_rows_than_needed(open_store: Open, driver: Driver, query: str, wanted: str) -> None:
    """What runs with every claim and settlement: for many tasks, too, none looks through all of a group."""
    backend = open_store(driver=driver)
    backend.lease_ms()
    query = query.replace("{many}", ",".join("?" * 256)).replace("{}", "?").replace("?", "9")
    plan = str(ask(backend, f"EXPLAIN QUERY PLAN {query}"))
    assert wanted in plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN task" not in plan
    assert "task_id (grp=?)" not in plan


class Full:
    """A file for which the disk has no room; SQLite has then already rolled back by itself."""

    def execute(self, sql: str, _values: object = ()) -> list[tuple[object, ...]]:
        if sql == "COMMIT":
            raise DriverError(13, "database or disk is full")
        if sql == "ROLLBACK":
            raise DriverError(1, "cannot rollback - no transaction is active")
        return [(0,)] if sql.startswith("PRAGMA") else []


def test_a_full_disk_is_said() -> None:
    """While the tables are made, too: not that there was nothing left to roll back."""
    with pytest.raises(DriverError, match="disk is full"):
        schema.bring_forward(Full(), "queue.db")  # type: ignore[arg-type] # all it uses of a connection
