"""Several processes and threads on one file, some of which die."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import Connection, Driver, standard
from pyxqueue.model.message import Done, Message, Record, Settlement, TaskStatus
from pyxqueue.protocols import StoreOptions
from pyxqueue.supervisor.processes import fork
from tests.support.until import until

from .conftest import Open

JOURNALS = pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])


class Child:
    """A forked process that runs `body`, and what it has said: bytes, by the function it is given."""

    def __init__(self, body: Callable[[Callable[[str], None]], object]) -> None:
        reader, writer = os.pipe()
        self.pid = fork()
        if self.pid == 0:
            code = 1
            try:
                body(lambda text: _write(writer, f"{text}\n".encode()))
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        self.said = os.fdopen(reader)

    def lines(self, count: int) -> list[str]:
        return [self.said.readline().strip() for _ in range(count)]

    def kill(self) -> list[str]:
        """End it at once, wherever it is; answers what else it had said."""
        os.kill(self.pid, signal.SIGKILL)
        return self.end(-signal.SIGKILL)

    def end(self, code: int = 0) -> list[str]:
        with self.said:
            rest = self.said.read().splitlines()
        assert os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]) == code
        return rest


def _write(number: int, data: bytes) -> None:
    os.write(number, data)


def _read(number: int) -> None:
    os.read(number, 1)


@contextmanager
def gate() -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """For children: wait until it is opened; for us: open it."""
    reader, writer = os.pipe()
    try:
        yield lambda: _read(reader), lambda: _write(writer, b"." * 100)
    finally:
        os.close(reader)
        os.close(writer)


def integrity(file: Path) -> str:
    with closing(sqlite3.connect(file)) as other:
        found: str = other.execute("PRAGMA integrity_check").fetchone()[0]
    return found


@JOURNALS
def test_every_task_is_claimed_once(open_store: Open, file: Path, wal: bool) -> None:
    """Four producers and four claimers at the same time: nothing is lost, and nothing is handed out twice."""
    backend = open_store(wal=wal)
    backend.lease_ms()

    def produce(name: str, start: Callable[[], None], _say: Callable[[str], None]) -> None:
        start()
        for number in range(0, 60, 3):
            backend.enqueue([Message(f"{name}-{number + more}", "kit.job") for more in range(3)])

    def consume(name: str, start: Callable[[], None], say: Callable[[str], None]) -> None:
        start()
        while backend.depth().history < 240:
            deliveries = backend.claim(name, 7, 20)
            assert all(backend.settle([Settlement(delivery.receipt, Done()) for delivery in deliveries]))
            for delivery in deliveries:
                say(delivery.message.id)

    with gate() as (start, let_go):
        producers = [Child(partial(produce, name, start)) for name in "abcd"]
        claimers = [Child(partial(consume, name, start)) for name in "wxyz"]
        let_go()
        for child in producers:
            child.end()
        claimed = Counter(task_id for child in claimers for task_id in child.end())

    assert claimed == {f"{name}-{number}": 1 for name in "abcd" for number in range(60)}
    assert backend.depth().history == 240
    backend.close()
    assert integrity(file) == "ok"


@JOURNALS
def test_what_was_answered_survives_a_kill(open_store: Open, file: Path, wal: bool) -> None:
    """Writers are killed again and again, wherever they are; every id they had an answer for is there."""
    backend = open_store(wal=wal)
    backend.lease_ms()
    answered: list[str] = []

    def write(turn: int, say: Callable[[str], None]) -> None:
        number = 0
        while True:
            number += 1
            ids = [f"t{turn}-{number}-{part}" for part in range(20)]
            assert all(backend.enqueue([Message(task_id, "kit.job", b"x" * 300) for task_id in ids]))
            say(ids[-1])

    for turn in range(12):
        child = Child(partial(write, turn))
        answered += child.lines(1 + turn % 4)
        answered += child.kill()

    assert [task_id for task_id, info in zip(answered, backend.show(answered), strict=True) if info is None] == []
    ids = [info.id for info in backend.tasks(count=1_000_000)[0]]
    assert len(ids) % 20 == 0  # a batch is there as a whole, or not at all
    backend.close()
    assert integrity(file) == "ok"


def test_a_waiting_claim_is_woken_by_another_process(open_store: Open) -> None:
    """Whatever the pause it is in, it sees what another process has enqueued."""
    backend = open_store()
    child = Child(lambda say: say(backend.claim("far", 1, 50_000)[0].message.id))
    backend.enqueue([Message("a", "kit.job")])
    assert child.end() == ["a"]


def test_a_waiting_result_is_woken_by_another_process(open_store: Open) -> None:
    """A producer gets its result when a worker in another process has settled."""
    backend = open_store()
    backend.enqueue([Message("a", "kit.job")])

    def wait(say: Callable[[str], None]) -> None:
        say("waiting")
        (record,) = backend.wait(["a"], None)
        say(record.value.decode() if record else "nothing")

    child = Child(wait)
    child.lines(1)
    (delivery,) = backend.claim("here", 1, 0)
    backend.settle([Settlement(delivery.receipt, Done(), Record("a", TaskStatus.SUCCESS, b"42"))])
    assert child.end() == ["42"]


def test_a_fork_starts_without_connections(open_store: Open) -> None:
    """Before a fork every connection is closed, so that neither side has one of the other's."""
    backend = open_store()
    backend.enqueue([Message("a", "kit.job")])
    backend.claim("one", 1, 5)
    assert backend._store._all

    def inherit(say: Callable[[str], None]) -> None:
        say(str(len(backend._store._all)))
        backend.enqueue([Message("b", "kit.job")])

    child = Child(inherit)

    assert child.end() == ["0"]
    assert backend.enqueue([Message("a", "kit.job"), Message("b", "kit.job")]) == [False, False]


@JOURNALS
def test_forks_while_other_threads_write(open_store: Open, file: Path, wal: bool) -> None:
    """A fork waits for the transactions of other threads; these, the parent and the children all go on."""
    backend = open_store(wal=wal)
    backend.lease_ms()
    stop = threading.Event()
    written: list[str] = []

    def write(name: str) -> None:
        while not stop.is_set():
            task_id = f"{name}-{len(written)}"
            backend.enqueue([Message(task_id, "kit.job")])
            written.append(task_id)
            backend.wait([task_id], 1)

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for task_id in (f"child-{number}" for number in range(15)):
        Child(lambda _: backend.enqueue([Message(task_id, "kit.job")])).end()  # noqa: B023 - runs at once
    stop.set()
    for thread in threads:
        thread.join()

    ids = [*written, *(f"child-{number}" for number in range(15))]
    assert None not in backend.show(ids)
    backend.close()
    assert integrity(file) == "ok"


def test_threads_that_fork_at_the_same_time(open_store: Open) -> None:
    """One waits for the other; nobody is left locked out, neither they nor those who write meanwhile."""
    stores = [open_store(), open_store()]
    done = threading.Event()

    def write(backend: SQLiteBackend, name: str) -> None:
        number = 0
        while not done.is_set():
            number += 1
            backend.enqueue([Message(f"{name}-{number}", "kit.job")])

    def fork_often() -> None:
        for _ in range(20):
            pid = fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)

    writers = [threading.Thread(target=write, args=pair, daemon=True) for pair in zip(stores, "ab", strict=True)]
    forkers = [threading.Thread(target=fork_often, daemon=True) for _ in range(2)]
    for thread in (*writers, *forkers):
        thread.start()
    for thread in forkers:  # one that is locked out reaches the time limit of the test, which shows where each waits
        thread.join()
    done.set()
    for thread in writers:
        thread.join()

    assert stores[0].enqueue([Message("after", "kit.job")]) == [True]


def test_ctrl_c_while_a_fork_waits(open_store: Open) -> None:
    """Python drops it, as it does with whatever a hook of a fork raises; the store must not be left locked."""
    backend = open_store()
    backend.lease_ms()
    handled, goes_on = threading.Event(), threading.Event()

    def interrupt(_number: int, _frame: object) -> None:
        handled.set()
        raise KeyboardInterrupt

    def disturb() -> None:
        until(lambda: backend._store._forking, "the fork waits for the transaction")
        os.kill(os.getpid(), signal.SIGINT)
        handled.wait(20)
        goes_on.set()

    def work() -> None:
        with backend._store.write():
            goes_on.wait(20)

    busy = threading.Thread(target=work)
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        busy.start()
        until(lambda: backend._store._lent, "the transaction runs")
        threading.Thread(target=disturb).start()
        child = Child(lambda say: say("forked"))
    finally:
        signal.signal(signal.SIGINT, before)

    assert child.end() == ["forked"]
    busy.join()
    assert handled.is_set()
    assert backend.enqueue([Message("after", "kit.job")]) == [True]


def descriptors(file: Path) -> list[str]:
    """The open files of this process that belong to the store."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(entry.readlink()))
    return [name for name in found if name.startswith(str(file))]


@JOURNALS
def test_threads_share_a_few_connections(open_store: Open, file: Path, wal: bool) -> None:
    """Many threads use one handle at once, and no connection outlives `close`."""
    backend = open_store(wal=wal)
    claimed: list[str] = []

    def work(name: str) -> None:
        for number in range(10):
            backend.enqueue([Message(f"{name}-{number}", "kit.job")])
            claimed.extend(delivery.message.id for delivery in backend.claim(name, 1, 0))

    for _ in range(3):
        threads = [threading.Thread(target=work, args=(f"{len(claimed)}-{name}",)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(claimed) == len(set(claimed)) == 120
    assert len(backend._store._all) <= 4
    backend.close()
    assert descriptors(file) == []


def test_a_handle_that_is_dropped_closes_its_file(file: Path) -> None:
    """Whoever forgets `close` leaks nothing, and gets no warning about it."""
    closed = []

    def connect(uri: str) -> Connection:
        connection = standard().connect(uri)
        close = connection.close

        def counted() -> None:
            closed.append(uri)
            close()

        connection.close = counted  # type: ignore[method-assign] # to see the call
        return connection

    def use() -> None:
        backend = SQLiteBackend(
            file, StoreOptions(), driver=Driver("sqlite3", standard().version, connect), safe_for_wal=lambda _: False
        )
        backend.lease_ms()
        assert descriptors(file)

    use()
    gc.collect()
    assert len(closed) == 1
    assert descriptors(file) == []
