"""Rows that another program has written: each is shown or failed by itself, and those beside it as ever."""

from __future__ import annotations

import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyxqueue import TaskQueue
from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import best
from pyxqueue.backends.sqlite.schema import INLINE
from pyxqueue.clock import FakeClock
from pyxqueue.errors import SerializationError
from pyxqueue.model.failed import FailedLimits
from pyxqueue.model.message import FLOW_VERSION, Done, Message, Retry, Settlement, TaskInfo, TaskStatus, Unreadable
from pyxqueue.model.schedules import Schedule
from pyxqueue.model.ticks import Timing
from pyxqueue.protocols import DEFAULT_LEASE_MS, Changed, ScheduleChange, StoreOptions
from pyxqueue.testing import drain

from .conftest import Open

LONGER = b"x" * INLINE
"""A body whose message is not kept in the row of its task."""
BAD_BODIES = [b"", b"\xc1", b"\x91\xc4\x01v", b"\x01", "text", 7, b"\x92\xc4\x01v\xa1x"]


def write(file: Path, sql: str, *values: Any) -> None:
    with closing(best().connect(f"{file.as_uri()}?mode=rw")) as connection:  # the library that the queue uses
        connection.execute(sql, values)


@pytest.mark.parametrize("table", ["task", "body"])
@pytest.mark.parametrize("body", BAD_BODIES, ids=repr)
def test_a_bad_body_is_failed_and_kept(file: Path, body: object, table: str) -> None:
    """The task behind it runs."""
    queue = TaskQueue(f"sqlite:///{file}", stream_key="q")
    job = queue.task(name="job")(lambda _: "done")
    with closing(queue):
        handles = job.map([("x" * INLINE if table == "body" else "x",)] * 2)
        write(file, f"UPDATE {table} SET fields = ? WHERE seq = (SELECT min(seq) FROM task)", body)

        drain(queue)

        assert handles[1].get(5) == "done"
        (failed,), _ = queue.stores.backend.tasks(TaskStatus.FAILURE)
        assert failed.id == handles[0].task_id
        assert isinstance(failed.message, Unreadable)


@pytest.mark.parametrize("column", ["attempt", "crashes", "redelivered", "deferrals", "due"])
@pytest.mark.parametrize("value", ["abc", b"\xff", -5, 1.5])
def test_a_bad_header_is_failed_and_kept(file: Path, column: str, value: object) -> None:
    """Whatever stands in a number's place."""
    queue = TaskQueue(f"sqlite:///{file}", stream_key="q")
    job = queue.task(name="job")(lambda: "done")
    with closing(queue):
        handles = job.map([(), ()])
        write(file, f"UPDATE task SET {column} = ? WHERE id = ?", value, handles[0].task_id)

        drain(queue)

        assert handles[1].get(5) == "done"
        (failed,), _ = queue.stores.backend.tasks(TaskStatus.FAILURE)
        assert failed.id == handles[0].task_id


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x91\xc4\x01v", "text", 7])
def test_a_bad_record_is_an_error_of_its_own(open_store: Open, file: Path, value: object) -> None:
    """Whoever asks for it learns that it is damaged; whoever looks around sees the rest."""
    backend = open_store(driver=best())
    backend.enqueue([Message(name, "kit.job") for name in ("a", "b")])
    backend.settle([Settlement(delivery.receipt, Done()) for delivery in backend.claim("w", 5, 0)])
    write(file, "UPDATE task SET record = ? WHERE id = 'a'", value)

    with pytest.raises(SerializationError, match="the stored result of a is damaged"):
        backend.wait(["a"], 0)
    assert [info and info.status for info in backend.show(["a", "b"])] == [TaskStatus.SUCCESS, TaskStatus.SUCCESS]


@pytest.mark.parametrize("progress", [b"{", "text", 7, 1.5])
def test_a_bad_state_or_progress_stops_nobody(open_store: Open, file: Path, progress: object) -> None:
    """The task is shown as waiting, without progress."""
    backend = open_store(driver=best())
    backend.enqueue([Message(name, "kit.job") for name in ("a", "b")])
    write(file, "UPDATE task SET ended = 99, progress = ? WHERE id = 'a'", progress)

    page, _ = backend.tasks()

    assert [(info.id, info.status, info.progress) for info in page] == [
        ("b", TaskStatus.PENDING, None),
        ("a", TaskStatus.PENDING, None),
    ]


def failed_reasons(backend: SQLiteBackend) -> dict[str, str]:
    """Of what a worker finds and cannot read: why."""
    return {
        one.message.id: one.message.reason for one in backend.claim("w", 10, 0) if isinstance(one.message, Unreadable)
    }


def test_the_bytes_of_another_task_are_not_run_once_more(open_store: Open, file: Path) -> None:
    """The row says which task it is: a copy under another id would run beside the first one."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job"), Message("copy", "kit.job")])
    write(file, "UPDATE task SET fields = (SELECT fields FROM task LIMIT 1)")

    assert failed_reasons(backend) == {"copy": "its bytes are those of another task, a"}


@pytest.mark.parametrize("table", ["task", "body"])
@pytest.mark.parametrize("body", BAD_BODIES, ids=repr)
def test_a_bad_body_is_dropped(open_store: Open, file: Path, body: object, table: str) -> None:
    """A failed task beyond a limit goes with whatever its message is, and without a name."""
    backend = open_store(driver=best())
    failed = Message("a", "kit.job", b"x" if table == "task" else LONGER)
    backend.adopt([TaskInfo("a", TaskStatus.FAILURE, failed, reason="no")])
    write(file, f"UPDATE {table} SET fields = ?", body)

    (dropped,) = backend.drop_failed(FailedLimits(keep=0), 10)

    assert (dropped.id, dropped.name) == ("a", "")
    assert backend.tasks()[0] == []


@pytest.mark.parametrize("value", [b"a", b"\xff", "", "\xe9", "x" * 65])
def test_a_row_without_an_id_is_called_by_its_number(open_store: Open, file: Path, value: object) -> None:
    """By that it is shown, listed, requeued and deleted."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job"), Message("b", "kit.job")])
    write(file, "UPDATE task SET id = ? WHERE id = 'a'", value)
    (row,) = [info.id for info in backend.tasks()[0] if info.id != "b"]

    assert row in failed_reasons(backend)
    backend.release("w", [])
    assert [info and info.id for info in backend.show([row, "b"])] == [row, "b"]
    assert backend.cancel([row]) == [True]
    assert backend.requeue([row]) == [True]
    assert backend.delete([row]) == [True]
    assert [info.id for info in backend.tasks()[0]] == ["b"]


@pytest.mark.parametrize(
    ("body", "sql"), [(b"", "UPDATE task SET fields = NULL"), (LONGER, "DELETE FROM body")], ids=["row", "body"]
)
def test_a_task_without_bytes_is_failed(open_store: Open, file: Path, body: bytes, sql: str) -> None:
    """A worker that passed it over would look for it without an end."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job", body)])
    write(file, sql)

    assert list(failed_reasons(backend)) == ["a"]


def test_one_place_for_two_tasks_lends_no_task_unseen(open_store: Open, file: Path) -> None:
    """What nobody was told of would wait for the end of its lease, as what a dead worker held."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job"), Message("b", "kit.job")])
    write(file, "UPDATE task SET sort = 1")

    assert [one.message.id for one in backend.claim("w", 1, 0)] == ["a"]
    assert [one.message.id for one in backend.claim("w", 1, 0)] == ["b"]


@pytest.mark.parametrize("end", ["x", b"x", 2**62, 9e999])
def test_no_lease_is_longer_than_a_lease(file: Path, end: object) -> None:
    """Whatever its row says, what a dead worker held comes back."""
    clock = FakeClock()
    with closing(SQLiteBackend(file, StoreOptions(), clock=clock)) as backend:
        backend.enqueue([Message("a", "kit.job")])
        backend.claim("dead", 1, 0)
        write(file, "UPDATE task SET sort = ?", end)
        backend.claim("w", 1, 0)
        clock.advance(backend.lease_ms() + 1)

        assert [one.message.id for one in backend.claim("w", 1, 0)] == ["a"]


@pytest.mark.parametrize("due", ["x", b"x", 2**62, 9e999])
def test_what_is_delayed_is_due_some_time(file: Path, due: object) -> None:
    """By the other place where the time stands; and nothing of it ends those who ask when the next is due."""
    clock = FakeClock()
    with closing(SQLiteBackend(file, StoreOptions(), clock=clock)) as backend:
        backend.enqueue([Message("a", "kit.job", delay_ms=60_000)])
        write(file, "UPDATE task SET sort = ?", due)
        assert backend.maintain(10) == -1
        assert backend.claim("w", 1, 0) == []
        clock.advance(60_000)

        assert [one.message.id for one in backend.claim("w", 1, 0)] == ["a"]


def test_attempts_are_counted_whatever_the_row_says(open_store: Open, file: Path) -> None:
    """A message that is marked as unreadable, and is not, would be retried for ever."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job")])
    write(file, "UPDATE task SET raw = 1")
    backend.settle([Settlement(one.receipt, Retry()) for one in backend.claim("w", 1, 0)])

    assert [one.message.attempt for one in backend.claim("w", 1, 0)] == [2]


@pytest.mark.parametrize("lease", [0, -1, "x", 2**62, 1.5])
def test_a_lease_that_is_none_is_the_usual_one(open_store: Open, file: Path, lease: object) -> None:
    """A lease of nothing would have each task taken from its worker at once."""
    backend = open_store(driver=best())
    backend.lease_ms()
    write(file, "UPDATE consumer_group SET lease = ?", lease)

    assert backend.lease_ms() == DEFAULT_LEASE_MS


@pytest.mark.parametrize(
    "sql", ["sort = 5", "ord = 100 - ord", "sort = 5.5, ord = 5.5", "ord = 'x'", "sort = seq + 0.5"]
)
def test_pages_end_and_show_each_task_once(open_store: Open, file: Path, sql: str) -> None:
    """Whatever the rows say about their order."""
    backend = open_store(driver=best())
    ids = [f"t{number}" for number in range(7)]
    backend.enqueue([Message(task_id, "kit.job") for task_id in ids])
    write(file, f"UPDATE task SET {sql}")

    seen, cursor = list[str](), ""
    for _ in ids:
        page, cursor = backend.tasks(None, cursor, 2)
        seen += [info.id for info in page]
        if not cursor:
            break
    assert (sorted(seen), cursor) == (ids, "")


def test_a_number_that_is_in_use_is_not_given_again(open_store: Open, file: Path) -> None:
    """A counter that was set back would have refused each new task."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job"), Message("b", "kit.job")])
    write(file, "UPDATE counter SET ticket = 0")

    assert backend.enqueue([Message("c", "kit.job")]) == [True]
    assert [one.message.id for one in backend.claim("w", 9, 0)] == ["a", "b", "c"]


def test_a_number_that_nobody_has_given_uses_up_none(open_store: Open, file: Path) -> None:
    """However often the counter is lost while there is a row of the largest number."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job")])
    write(file, "UPDATE task SET seq = ?", 2**63 - 1)

    for task_id in ("b", "c", "d"):
        write(file, "UPDATE counter SET ticket = 'x'")
        assert backend.enqueue([Message(task_id, "kit.job")]) == [True]
    assert sorted(one.message.id for one in backend.claim("w", 9, 0)) == ["a", "b", "c", "d"]


def test_ten_million_fields_are_not_read(open_store: Open, file: Path) -> None:
    """Their number is looked at first."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job")])
    write(file, "UPDATE task SET fields = ?", b"\xdd\x00\x98\x96\x80" + b"\xc4\x00" * 10_000_000)

    assert "length" in failed_reasons(backend)["a"]


def test_a_planted_record_keeps_no_task_from_ending(open_store: Open, file: Path) -> None:
    """One of numbers that fit nowhere is none."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job")])
    (delivery,) = backend.claim("w", 1, 0)
    planted = msgspec.msgpack.encode([b"v", b"1", b"state", b"5", b"ttl", b"9" * 4_000, b"fence", b"9" * 4_000])
    write(file, "UPDATE task SET record = ?, record_end = ?, record_fence = ?", planted, 2**53, 2**53)

    assert backend.settle([Settlement(delivery.receipt, Done())]) == [True]
    assert [record and record.status for record in backend.wait(["a"], 0)] == [TaskStatus.SUCCESS]


LARGE = 20_000_000


@pytest.mark.parametrize(("body", "table"), [(b"", "task"), (LONGER, "body")], ids=["row", "body"])
def test_large_bodies_are_claimed_by_and_by(open_store: Open, file: Path, body: bytes, table: str) -> None:
    """As many as fit into memory together, and none is lent that was not read; a page of a list ends there, too."""
    backend = open_store(driver=best())
    ids = [f"t{number}" for number in range(8)]
    backend.enqueue([Message(task_id, "kit.job", body) for task_id in ids])
    write(file, f"UPDATE {table} SET fields = zeroblob(?)", LARGE)

    page, cursor = backend.tasks()
    assert [info.id for info in page] == ids[:-4:-1]
    rest, last = backend.tasks(cursor=cursor, count=100)
    assert [info.id for info in rest] == ids[4:1:-1]
    assert [info.id for info in backend.tasks(cursor=last)[0]] == ids[1::-1]
    assert [one.message.id for one in backend.claim("w", 100, 0)] == ids[:3]
    assert backend.depth().in_flight == 3
    assert [one.message.id for one in backend.claim("w", 100, 0)] == ids[3:6]


def test_lines_take_turns_also_where_memory_ends_a_claim(open_store: Open, file: Path) -> None:
    """The next claim goes on with the other line than the last task that was handed out, not that would have been."""
    backend = open_store(driver=best())
    backend.enqueue([Message(f"back{number}", "kit.job") for number in range(3)])
    backend.claim("gone", 3, 0)
    backend.release("gone", [])
    backend.enqueue([Message(f"new{number}", "kit.job") for number in range(3)])
    write(file, "UPDATE task SET fields = zeroblob(?)", LARGE)

    claims = [[one.message.id for one in backend.claim("w", 6, 0)] for _ in range(2)]
    assert claims == [["back0", "new0", "back1"], ["new1", "back2", "new2"]]


@pytest.mark.parametrize("column", ["reason", "consumer", "progress", "id"])
def test_of_long_texts_no_more_is_read_than_ours_have(open_store: Open, file: Path, column: str) -> None:
    """However long somebody has made them: what lists tasks and consumers needs little memory."""
    backend = open_store(driver=best())
    backend.enqueue([Message("a", "kit.job"), Message("b", "kit.job")])
    backend.claim("w", 1, 0)
    write(file, f"UPDATE task SET {column} = hex(zeroblob(?)) || seq", LARGE)

    def look() -> None:
        backend.tasks()
        backend.consumers()
        backend.show(["a", "b"])

    look()
    tracemalloc.start()
    try:
        look()
        assert tracemalloc.get_traced_memory()[1] < LARGE // 4
    finally:
        tracemalloc.stop()


def test_schedules_that_cannot_be_read_hold_up_nothing(open_store: Open, file: Path) -> None:
    """However many of them are due before another one."""
    backend = open_store()
    store = backend.schedules()
    one = Schedule("good", Timing(every_ms=1_000), Message("good", "kit.job", b"[]"), mark="1", next_ms=5)
    assert store.change(ScheduleChange("good", "", one)) is Changed.DONE
    numbers = "WITH n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99)"
    columns = "INSERT INTO schedule SELECT queue, 'bad' || i, mark, 1, x'00' FROM schedule, n WHERE id = 'good'"
    write(file, f"{numbers} {columns}")

    assert [found.id for found in store.due(10).schedules] == ["good"]
    assert store.due(0).left == 0


@pytest.mark.parametrize("name", ["CAST(x'ff41' AS TEXT)", "x'ff00'", "7"])
def test_a_bad_name_among_limits_stops_nobody(open_store: Open, file: Path, name: str) -> None:
    """A number that was raised, and a rate that has room, of something that is no name."""
    backend = open_store()
    backend.limits().set("api", 1)
    gated = [Message(one, "job", gates=("api/", "b/"), v=FLOW_VERSION) for one in ("first", "second")]
    backend.enqueue(gated)
    write(file, f"INSERT INTO gate_limit SELECT key, {name}, 3, NULL, 1 FROM consumer_group")
    write(file, f"INSERT INTO rate SELECT key, {name}, 0, 0, 0, 1 FROM consumer_group WHERE typeof({name}) <> 'text'")

    assert backend.maintain(10) == -1
    (held,) = backend.claim("w", 9, 0)
    assert backend.settle([Settlement(held.receipt, Done())]) == [True]
    assert [one.message.id for one in backend.claim("w", 9, 0)] == ["second"]


@pytest.mark.parametrize("value", ["'abc'", "x'00'", "1.5", "-1"])
def test_a_bad_place_in_a_line_stops_nobody(open_store: Open, file: Path, value: str) -> None:
    """Those that wait for the same limit are admitted, whatever the row says about their order."""
    backend = open_store()
    backend.limits().set("a", 1)
    backend.limits().set("b", 1)
    gates = {"one": ("a/", "b/"), "two": ("b/",), "three": ("a/", "b/")}
    backend.enqueue([Message(one, "job", gates=gate, v=FLOW_VERSION) for one, gate in gates.items()])
    write(file, f"UPDATE gated SET arrival = {value} WHERE seq = (SELECT seq FROM task WHERE id = 'two')")

    claimed = list[str]()
    for _ in range(9):
        backend.maintain(10)
        for held in backend.claim("w", 9, 0):
            claimed.append(held.message.id)
            assert backend.settle([Settlement(held.receipt, Done())]) == [True]

    assert sorted(claimed) == sorted(gates)
