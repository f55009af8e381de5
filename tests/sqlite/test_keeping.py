"""What is kept, for how long, and that nothing of it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.schema import INLINE
from pyxqueue.model.message import (
    DEDUPE_MS,
    Cancelled,
    Done,
    Extension,
    Message,
    Progress,
    Record,
    Retry,
    Settlement,
    TaskStatus,
    Verdict,
)

from ..support.sqlite_harness import SQLiteHarness
from .conftest import ask

HOUR = 3_600_000


@pytest.fixture
def harness() -> Iterator[SQLiteHarness]:
    with closing(SQLiteHarness()) as harness:
        yield harness


def test_the_file_stops_growing(harness: SQLiteHarness) -> None:
    """The room of what was forgotten is used again."""
    backend = harness.open(history=20)
    sizes = []
    for turn in range(6):
        for part in range(4):
            backend.enqueue([Message(f"{turn}-{part}-{number}", "kit.job", b"x" * 400) for number in range(100)])
            backend.settle([Settlement(delivery.receipt, Done()) for delivery in backend.claim("one", 100, 0)])
        harness.advance(25 * HOUR + DEDUPE_MS)
        for _ in range(3):  # each forgets a limited number
            backend.claim("one", 1, 0)
        sizes.append(ask(backend, "PRAGMA page_count")[0][0])
    assert sizes[1] == sizes[-1]


def test_a_silent_consumer_is_forgotten(harness: SQLiteHarness) -> None:
    """One whose process died where nobody could see it is not listed for ever; what it holds is, with its name."""
    backend = harness.open(lease=3 * HOUR)
    backend.enqueue([Message("a", "kit.job")])
    backend.claim("silent", 0, 0)
    backend.claim("holder", 1, 0)
    harness.advance(HOUR + 1)
    backend.claim("one", 1, 0)
    assert {consumer.name: list(consumer.in_flight) for consumer in backend.consumers()} == {"holder": ["a"], "one": []}


def test_a_claim_of_nothing_does_not_wait(harness: SQLiteHarness) -> None:
    """Whoever has no room gets nothing at once, though there is work."""
    backend = harness.open()
    backend.enqueue([Message("a", "kit.job")])
    before = backend._store.mark().own
    assert list(backend.claim("one", 0, 50_000)) == []
    assert backend._store.mark().own == before + 1


def test_a_claim_of_nothing_leaves_the_turn(harness: SQLiteHarness) -> None:
    """After a task that came back, the next one is new, however many claims were empty in between."""
    backend = harness.open()
    backend.enqueue([Message("back", "kit.job"), Message("again", "kit.job")])
    backend.claim("gone", 2, 0)
    backend.release("gone", [])
    assert [one.message.id for one in backend.claim("one", 1, 0)] == ["back"]
    assert list(backend.claim("one", 0, 0)) == []
    backend.enqueue([Message("new", "kit.job")])
    assert [one.message.id for one in backend.claim("one", 2, 0)] == ["new", "again"]


def test_a_group_that_comes_back_issues_no_old_receipt(harness: SQLiteHarness) -> None:
    """A holder from before a group was removed settles nothing in the one that has its name now."""
    backend = harness.open()
    backend.enqueue([Message("a", "kit.job")])
    (old,) = backend.claim("one", 1, 0)
    backend.remove_group("cg")
    backend.enqueue([Message("a", "kit.job")])
    (new,) = backend.claim("one", 1, 0)
    assert backend.settle([Settlement(old.receipt, Done())]) == [False]
    assert new.fence > old.fence
    assert backend.settle([Settlement(new.receipt, Done())]) == [True]


def delete(backend: SQLiteBackend, _: SQLiteHarness) -> None:
    backend.delete(["a", "b"])


def remove_group(backend: SQLiteBackend, _: SQLiteHarness) -> None:
    backend.remove_group("other")


def forget(backend: SQLiteBackend, harness: SQLiteHarness) -> None:
    backend.cancel(["a", "b"])
    harness.advance(25 * HOUR)
    backend.claim("w", 0, 0)


@pytest.mark.parametrize("deletion", [delete, remove_group, forget])
def test_no_number_of_a_row_is_used_again(
    harness: SQLiteHarness, deletion: Callable[[SQLiteBackend, SQLiteHarness], None]
) -> None:
    """New tasks do not write the counter, so what deletes the row with the largest number does: a handle that has seen
    no new task looks only at larger numbers from then on."""
    backend = harness.open(history=0)
    backend.lease_ms()
    if deletion is remove_group:
        harness.open("other").lease_ms()
    backend.enqueue([Message("a", "kit.job"), Message("b", "kit.job")])
    ((before,),) = ask(backend, "SELECT max(seq) FROM task")
    deletion(backend, harness)
    backend.enqueue([Message("c", "kit.job")])

    ((after,),) = ask(backend, "SELECT max(seq) FROM task")
    assert after > before


def test_the_fence_is_larger_than_all_numbers(harness: SQLiteHarness) -> None:
    """Also if nothing but new tasks was written since the last claim."""
    backend = harness.open()
    fences = []
    for number in range(3):
        backend.enqueue([Message(f"{number}.{part}", "kit.job") for part in range(5)])
        deliveries = backend.claim("one", 5, 0)
        fences += [delivery.fence for delivery in deliveries]
        ((largest,),) = ask(backend, "SELECT max(seq) FROM task")
        assert min(fences[-5:]) > largest
        backend.release("one", [])
        backend.delete([delivery.message.id for delivery in deliveries])
    assert fences == sorted(fences)
    assert len(set(fences)) == 3


def test_new_tasks_are_looked_for_behind_the_last_ones(harness: SQLiteHarness) -> None:
    """What is not new, of whichever group, is passed once: by a claim for all handles, by a look for its own."""
    backend, mail = harness.open(), harness.open("mail")
    backend.lease_ms()
    mail.lease_ms()

    def first(group: str) -> int:
        found: int = ask(backend, f"SELECT next FROM consumer_group WHERE name = '{group}'")[0][0]
        return found

    backend.enqueue([Message(f"t{number}", "kit.job") for number in range(6)])
    assert [one.message.id for one in backend.claim("one", 2, 0)] == ["t0", "t1"]
    assert ask(backend, f"SELECT id FROM task WHERE seq >= {first('cg')} AND grp = 1 ORDER BY seq LIMIT 1") == [("t2",)]
    assert len(backend.claim("one", 9, 0)) == 4
    ((largest,),) = ask(backend, "SELECT max(seq) FROM task")
    assert first("cg") > largest
    backend.enqueue([Message("later", "kit.job", delay_ms=HOUR)])
    assert list(backend.claim("one", 9, 0)) == []
    ((largest,),) = ask(backend, "SELECT max(seq) FROM task")
    assert backend._broker._seen.next > largest
    backend.enqueue([Message("t6", "kit.job")])
    assert [one.message.id for one in harness.open().claim("two", 9, 0)] == ["t6"]
    assert [one.message.id for one in mail.claim("one", 9, 0)] == [*(f"t{number}" for number in range(7))]


@pytest.mark.parametrize("size", [10, INLINE])
def test_nothing_is_left_of_a_message(harness: SQLiteHarness, size: int) -> None:
    """Neither of one in its row nor of one beside it: once it has left the history, was deleted or replaced."""
    backend = harness.open(history=1)
    for task_id in ("a", "b", "c"):
        backend.enqueue([Message(task_id, "kit.job", bytes(size))])
        backend.settle([Settlement(one.receipt, Done(), record_of(one.message.id)) for one in backend.claim("w", 1, 0)])
    assert stored(backend) == ["c"]
    backend.delete(["c"])
    assert stored(backend) == []
    harness.advance(25 * HOUR)
    backend.enqueue([Message("b", "kit.job", bytes(size))])
    assert stored(backend) == ["b"]
    assert [info and info.message for info in backend.show(["b"])] != [None]


def record_of(task_id: str) -> Record:
    return Record(task_id, TaskStatus.SUCCESS, b"1")


def stored(backend: SQLiteBackend) -> list[object]:
    """The ids of the tasks whose messages are kept."""
    assert ask(backend, "SELECT count(*) FROM body WHERE seq NOT IN (SELECT seq FROM task)") == [(0,)]
    rows = ask(
        backend, "SELECT id FROM task LEFT JOIN body USING (seq) WHERE coalesce(task.fields, body.fields) NOT NULL"
    )
    return [row[0] for row in rows]


def test_a_mixed_batch_ends_in_its_order(harness: SQLiteHarness) -> None:
    """Successes, which are written together, and all other ends: a short history keeps the last ones."""
    backend = harness.open(history=3)
    ids = [f"t{number}" for number in range(6)]
    backend.enqueue([Message(task_id, "kit.job") for task_id in ids])
    deliveries = backend.claim("one", 6, 0)
    backend.extend([Extension(deliveries[4].receipt, Progress(1, 2))])
    verdicts: tuple[Verdict, ...] = (Done(), Cancelled(), Done(), Cancelled(), Done(), Done())
    settlements = [
        Settlement(one.receipt, verdict, record_of(one.message.id) if type(verdict) is Done else None)
        for one, verdict in zip(deliveries, verdicts, strict=True)
    ]

    assert backend.settle(settlements) == [True] * 6
    assert backend.settle(settlements[:1]) == [False]
    assert [info.id for info in backend.tasks()[0]] == ["t5", "t4", "t3"]
    assert [record and record.progress for record in backend.wait(["t4", "t5"], 0)] == [Progress(1, 2), None]


@pytest.mark.parametrize("settled_first", [0, 1])
def test_of_two_settlements_for_one_delivery_the_first_is_accepted(harness: SQLiteHarness, settled_first: int) -> None:
    """Whichever of them is a success with a record."""
    backend = harness.open()
    backend.enqueue([Message("a", "kit.job"), Message("b", "kit.job")])
    one, other = backend.claim("w", 2, 0)
    both = [Settlement(one.receipt, Done(), record_of("a")), Settlement(one.receipt, Cancelled())]
    batch = [both[settled_first], both[1 - settled_first], Settlement(other.receipt, Done(), record_of("b"))]

    assert backend.settle(batch) == [True, False, True]
    (record,) = backend.wait(["a"], 0)
    assert record is not None
    assert record.status is (TaskStatus.SUCCESS, TaskStatus.CANCELLED)[settled_first]


def test_queues_in_one_file_do_not_meet(harness: SQLiteHarness) -> None:
    """The same id in two queues is two tasks."""
    one = harness.open()
    harness.stream_key = "other"
    other = harness.open()
    assert [*one.enqueue([Message("a", "kit.job")]), *other.enqueue([Message("a", "kit.job")])] == [True, True]
    assert (one.groups(), other.groups()) == (["cg"], ["cg"])
    one.remove_group("cg")
    assert other.depth().ready == 1


def test_an_unreadable_entry_is_at_its_first_attempt_until_it_ends(harness: SQLiteHarness) -> None:
    """Retries of it are not counted, for it has no header; the record of its end says the same."""
    backend = harness.open()
    backend.lease_ms()  # registers the group
    task_id = harness.inject({b"junk": b""})
    for verdict in (Retry(0), Cancelled()):
        (delivery,) = backend.claim("one", 1, 0)
        assert backend.settle([Settlement(delivery.receipt, verdict)]) == [True]

    (record,) = backend.wait([task_id], 0)

    assert record is not None
    assert record.attempt == 1
