"""A bulk of work is done in steps, and keeps nobody from the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend, SQLiteResults, steps
from pyxqueue.backends.sqlite.driver import Connection, Driver, Rows, Value, standard
from pyxqueue.batching import MAX_BYTES, MAX_ITEMS
from pyxqueue.clock import FakeClock
from pyxqueue.model.message import (
    FLOW_VERSION,
    Delivery,
    Done,
    Extension,
    Message,
    Record,
    Settlement,
    TaskInfo,
    TaskStatus,
    evolve,
)
from pyxqueue.model.rates import Pace
from pyxqueue.protocols import StoreOptions

from .conftest import Open, ask

MANY = 8 * MAX_ITEMS
IDS = [f"t{number:04}" for number in range(MANY)]
ROWS = 4 * MAX_ITEMS + 10
"""A task has two rows, and where it ends another may leave the history; a few are for the group and the counters."""


class Watched:
    """A connection that notes how many rows and bytes each transaction writes."""

    def __init__(self, inner: Connection, largest: dict[str, int]) -> None:
        self.inner = inner
        self.largest = largest
        self.close = inner.close
        self._start = self._bytes = 0

    def execute(self, sql: str, values: Sequence[Value] = ()) -> Rows:
        if sql.startswith("BEGIN"):
            self._start, self._bytes = self._rows(), 0
        if sql == "COMMIT":
            self.largest["rows"] = max(self.largest["rows"], self._rows() - self._start)
            self.largest["bytes"] = max(self.largest["bytes"], self._bytes)
        return self.inner.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> int:
        listed = list(rows)
        self._bytes += sum(len(value) for row in listed for value in row if isinstance(value, bytes))
        return self.inner.executemany(sql, listed)

    def _rows(self) -> int:
        found: int = self.inner.execute("SELECT total_changes()")[0][0]
        return found


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is there to take a turn."""
    monkeypatch.setattr(steps, "give_way", lambda _=0: None)


@pytest.fixture
def largest() -> dict[str, int]:
    return {"rows": 0, "bytes": 0}


@pytest.fixture
def backend(open_store: Open, largest: dict[str, int]) -> SQLiteBackend:
    own = standard()
    driver = Driver(own.name, own.version, lambda uri: Watched(own.connect(uri), largest))
    return open_store(wal=True, driver=driver, clock=FakeClock())


def results_on(backend: SQLiteBackend) -> SQLiteResults:
    """A result store in the same file, on the connection that is watched."""
    results = SQLiteResults(backend._store.location.path, StoreOptions())
    results._queue.store = backend._store
    return results


def held(backend: SQLiteBackend) -> Sequence[Delivery]:
    backend.enqueue([Message(task_id, "kit.job") for task_id in IDS])
    return [delivery for _ in range(8) for delivery in backend.claim("one", MAX_ITEMS, 0)]


def delayed(backend: SQLiteBackend) -> None:
    backend.enqueue([Message(task_id, "kit.job", delay_ms=1_000) for task_id in IDS])


def later(backend: SQLiteBackend, ms: int) -> None:
    clock = backend._queue.clock
    assert isinstance(clock, FakeClock)
    clock.advance(ms)


def finished(backend: SQLiteBackend) -> None:
    backend.enqueue([Message(task_id, "kit.job") for task_id in IDS])
    backend.cancel(IDS)


def settle(backend: SQLiteBackend) -> object:
    return all(backend.settle([Settlement(one.receipt, Done(), None) for one in held(backend)]))


def settle_capped(backend: SQLiteBackend) -> object:
    backend._queue.options = evolve(backend._queue.options, history=0)
    settle(backend)
    return backend.depth().history == 0


def claim_what_is_due(backend: SQLiteBackend) -> object:
    delayed(backend)
    later(backend, 1_000)
    return len({one.message.id for _ in range(9) for one in backend.claim("one", MAX_ITEMS, 0)}) == MANY


def claim_what_is_overdue(backend: SQLiteBackend) -> object:
    held(backend)
    later(backend, 60_000)
    return len({one.message.id for _ in range(9) for one in backend.claim("two", MAX_ITEMS, 0)}) == MANY


def maintain(backend: SQLiteBackend) -> object:
    delayed(backend)
    later(backend, 1_000)
    return backend.maintain(MANY) == -1 and backend.depth().ready == MANY


def settle_beside_a_raised_limit(backend: SQLiteBackend) -> object:
    """Who settles when a limit has just been raised leaves the most of the line to the supervisors."""
    limits = backend.limits()
    limits.set("api", 1)
    backend.enqueue([Message(task_id, "kit.job", gates=("api/",), v=FLOW_VERSION) for task_id in IDS])
    (first,) = backend.claim("one", 1, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "admit", lambda: None)  # its process is about to
        limits.set("api", MANY)
    assert backend.settle([Settlement(first.receipt, Done(), None)]) == [True]
    assert backend.depth().ready == MAX_ITEMS
    assert backend.maintain(MAX_ITEMS) == 0
    assert backend.depth().ready == 2 * MAX_ITEMS
    looks = sum(1 for _ in iter(partial(backend.maintain, MAX_ITEMS), -1))
    return looks <= MANY // MAX_ITEMS and backend.depth().ready == MANY - 1


def delete_beside_a_raised_limit(backend: SQLiteBackend) -> object:
    """So does who deletes one that has a token."""
    limits = backend.limits()
    limits.set("api", 1)
    backend.enqueue([Message(task_id, "kit.job", gates=("api/",), v=FLOW_VERSION) for task_id in IDS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "admit", lambda: None)
        limits.set("api", MANY)
    assert backend.delete(IDS[:1]) == [True]
    return backend.depth().ready == MAX_ITEMS


def adopt(backend: SQLiteBackend) -> object:
    shown = [TaskInfo(task_id, TaskStatus.PENDING, Message(task_id, "kit.job")) for task_id in IDS]
    return all(backend.adopt(shown))


def put(backend: SQLiteBackend) -> object:
    results = results_on(backend)
    results.put([Record(task_id, TaskStatus.SUCCESS) for task_id in IDS])
    return None not in results.wait(IDS, 0)


def forget_put(backend: SQLiteBackend) -> object:
    put(backend)
    results = results_on(backend)
    results.forget(IDS)
    return set(results.wait(IDS, 0)) == {None}


def forget(backend: SQLiteBackend) -> object:
    backend.forget(IDS)
    return set(backend.wait(IDS, 0)) == {None}


def remove(backend: SQLiteBackend) -> object:
    backend.enqueue([Message(task_id, "kit.job") for task_id in IDS])
    backend.remove_group("cg")
    return ask(backend, "SELECT count(*) FROM task, consumer_group") == [(0,)]


def trim(backend: SQLiteBackend) -> object:
    """Each end drops a part of what is too much, as a large one of a bulk would keep others from the file."""
    backend._queue.options = evolve(backend._queue.options, history=0)
    for number in range(2 * MANY // MAX_ITEMS):
        backend.enqueue([Message(f"end-{number}", "kit.job")])
        backend.settle([Settlement(one.receipt, Done()) for one in backend.claim("one", 1, 0)])
    return backend.depth().history == 0


def done_to_finished(act: Callable[[SQLiteBackend], object]) -> Callable[[SQLiteBackend], object]:
    def bulk(backend: SQLiteBackend) -> object:
        finished(backend)
        return act(backend)

    return bulk


BULKS: dict[str, Callable[[SQLiteBackend], object]] = {
    "enqueue": lambda backend: all(backend.enqueue([Message(task_id, "kit.job") for task_id in IDS])),
    "settle": settle,
    "settle, with a history of nothing": settle_capped,
    "extend": lambda backend: len(backend.extend([Extension(one.receipt) for one in held(backend)])) == MANY,
    "release": lambda backend: backend.release("one", [one.receipt for one in held(backend)]) == MANY,
    "claim what is due": claim_what_is_due,
    "claim what is overdue": claim_what_is_overdue,
    "maintain": maintain,
    "settle beside a raised limit": settle_beside_a_raised_limit,
    "delete beside a raised limit": delete_beside_a_raised_limit,
    "put": put,
    "forget what was put": forget_put,
    "adopt": adopt,
    "remove": remove,
    "cancel": done_to_finished(lambda backend: backend.depth().history == MANY),
    "forget": done_to_finished(forget),
    "requeue": done_to_finished(lambda backend: all(backend.requeue(IDS))),
    "delete": done_to_finished(lambda backend: all(backend.delete(IDS))),
    "trim": done_to_finished(trim),
}


@pytest.mark.parametrize("bulk", BULKS.values(), ids=BULKS)
def test_no_step_has_many_tasks(
    backend: SQLiteBackend, largest: dict[str, int], bulk: Callable[[SQLiteBackend], object]
) -> None:
    """Whatever is done to 2,048 tasks at once is done in steps of 256, and all of it is done."""
    assert bulk(backend)
    assert largest["rows"] <= ROWS


def test_a_maintenance_opens_some_of_many_rates(backend: SQLiteBackend) -> None:
    """Of those that have room again at the same time; the next one comes at once."""
    limits: Any = backend.limits()
    limits.set_rate("api", Pace(1, 1_000, 1))
    half = MANY // 2
    for ids in (IDS[:half], IDS[half:]):
        backend.enqueue(
            [Message(one, "kit.job", gates=(f"rate:api/{n}",), v=FLOW_VERSION) for n, one in enumerate(ids)]
        )
    later(backend, 1_001)

    assert backend.maintain(MAX_ITEMS) == 0
    assert backend.depth().ready == half + MAX_ITEMS


def test_no_step_has_many_bytes(backend: SQLiteBackend, largest: dict[str, int]) -> None:
    """Large calls and results go in steps of 4 MiB; one that is larger goes alone."""
    size = MAX_BYTES // 4 - 1_000
    backend.enqueue([Message(f"large-{number}", "kit.job", bytes(size)) for number in range(12)])
    deliveries = backend.claim("one", 12, 0)
    backend.settle([
        Settlement(one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS, bytes(size), fence=one.fence))
        for one in deliveries
    ])  # fmt: skip
    results_on(backend).put([Record(f"other-{number}", TaskStatus.SUCCESS, bytes(size)) for number in range(12)])
    assert MAX_BYTES // 2 < largest["bytes"] <= MAX_BYTES

    backend.enqueue([Message(f"huge-{number}", "kit.job", bytes(MAX_BYTES + 1)) for number in range(2)])
    assert largest["bytes"] < 2 * MAX_BYTES


def test_others_write_between_two_steps(
    backend: SQLiteBackend, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process's call does not wait for the end of a large one."""
    other, seen = open_store(wal=True, busy_limit=0), list[int]()

    def turn(_: float = 0) -> None:
        other.enqueue([Message(f"other-{len(seen)}", "kit.job")])
        seen.append(other.depth().ready)

    monkeypatch.setattr(steps, "give_way", turn)
    backend.enqueue([Message(task_id, "kit.job") for task_id in IDS])
    assert seen == [number * MAX_ITEMS + number for number in range(1, 8)]


def test_what_is_prepared_while_the_file_is_free_is_a_part_of_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause is half of the step, and at most `PAUSE`."""
    now, pauses = [0.0], list[float]()
    monkeypatch.setattr(steps, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(steps, "give_way", pauses.append)
    step = steps.PAUSE / 2

    def prepare(batch: Sequence[float]) -> float:
        now[0] += batch[0]
        return batch[0]

    numbers = [0.0, *[0.0] * 255, 0.0, *[0.0] * 255, step / 4, *[0.0] * 255, step]
    for _ in steps.in_prepared_steps(numbers, lambda _: 0, prepare):
        now[0] += 10 * step if not pauses else step

    assert pauses == pytest.approx([steps.PAUSE, step / 4, 0.0])


class StoppedError(Exception):
    """What ends a bulk half way."""


def test_what_was_cut_off_is_completed_by_a_repeat(backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an enqueue that ended half way a leading part is there, and the same call again adds what is missing."""
    turns = list[None]()

    def turn(_: float = 0) -> None:
        turns.append(None)
        if len(turns) == 3:
            raise StoppedError

    monkeypatch.setattr(steps, "give_way", turn)
    messages = [Message(task_id, "kit.job") for task_id in IDS]
    with pytest.raises(StoppedError):
        backend.enqueue(messages)
    answers = backend.enqueue(messages)
    assert answers == [False] * 3 * MAX_ITEMS + [True] * 5 * MAX_ITEMS
    assert [one.message.id for _ in range(8) for one in backend.claim("one", MAX_ITEMS, 0)] == IDS


def test_a_removal_that_was_cut_off_is_completed(backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group whose removal was killed half way is gone for all, and `maintain` deletes what was left of it."""
    backend.enqueue([Message(task_id, "kit.job") for task_id in IDS])

    def stop(_: float = 0) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(steps, "give_way", stop)
        with pytest.raises(StoppedError):
            backend.remove_group("cg")
    assert list(backend.groups()) == []
    assert backend.claim("one", 10, 0) == []
    backend.maintain(1)
    assert ask(backend, "SELECT count(*) FROM task, body") == [(0,)]
    assert list(backend.groups()) == ["cg"]


def test_the_log_stays_small(file: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """In WAL mode neither a large bulk nor a large call leaves a large log behind."""
    backend, log = open_store(wal=True), file.with_name("queue.db-wal")
    sizes = list[int]()
    monkeypatch.setattr(steps, "give_way", lambda _=0: sizes.append(log.stat().st_size))
    backend.enqueue([Message(task_id, "kit.job", bytes(16_000)) for task_id in IDS])
    assert max(sizes) < 3 * MAX_BYTES < MANY * 16_000

    backend.enqueue([Message("huge", "kit.job", bytes(8 * MAX_BYTES))])
    backend.enqueue([Message("small", "kit.job")])
    backend.enqueue([Message("tiny", "kit.job")])
    assert log.stat().st_size <= MAX_BYTES + 32 * 1024


assert StoreOptions().history >= MANY
