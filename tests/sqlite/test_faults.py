"""What happens to the file while it is in use: every fault is a typed error, and none loses anything in silence."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite.driver import Connection, Driver, DriverError, Rows, Value, apsw, standard
from pyxqueue.backends.sqlite.faults import typed
from pyxqueue.errors import BrokerError, BrokerUnavailableError, StoreFileError, StoreFullError
from pyxqueue.model.message import Done, Message, Record, Settlement, TaskStatus

from .conftest import Open

BIG = b"x" * 400_000


def jobs(*ids: str, body: bytes = b"") -> list[Message]:
    return [Message(task_id, "kit.job", body) for task_id in ids]


@pytest.fixture(params=["sqlite3", "apsw"])
def driver(request: pytest.FixtureRequest) -> Driver:
    found = standard() if request.param == "sqlite3" else apsw()
    assert found is not None
    return found


# Full


def limited(driver: Driver, pages: int = 60) -> Driver:
    """A driver whose files cannot grow beyond that many pages."""

    def connect(uri: str) -> Connection:
        connection = driver.connect(uri)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    return Driver(driver.name, driver.version, connect)


@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
def test_a_full_store_takes_in_nothing(open_store: Open, driver: Driver, wal: bool) -> None:
    """The batch that does not fit is refused as a whole; what was there is there, and can be worked on."""
    # Given
    backend = open_store(driver=limited(driver), wal=wal)
    backend.enqueue(jobs("a"))
    # When
    with pytest.raises(StoreFullError):
        backend.enqueue([*jobs("b"), *jobs("c", body=BIG)])
    # Then
    assert [info and info.id for info in backend.show(["a", "b", "c"])] == ["a", None, None]
    assert backend.enqueue(jobs("d")) == [True]


def test_a_worker_waits_for_room(open_store: Open, driver: Driver) -> None:
    """What a worker has to write is worth another try, so it is told that the store is unavailable now."""
    # Given
    backend = open_store(driver=limited(driver))
    backend.enqueue(jobs("a"))
    (delivery,) = backend.claim("one", 1, 0)
    record = Record("a", TaskStatus.SUCCESS, BIG)
    # When
    with pytest.raises(BrokerUnavailableError, match="no room"):
        backend.settle([Settlement(delivery.receipt, Done(), record)])
    # Then
    assert backend.settle([Settlement(delivery.receipt, Done())]) == [True]


def test_a_store_that_does_not_fit_at_all(open_store: Open, driver: Driver) -> None:
    """Also where there is no room for the tables, a worker may try again, and a caller learns that the disk is full."""
    backend = open_store(driver=limited(driver, 2))
    with pytest.raises(BrokerUnavailableError, match="no room"):
        backend.claim("one", 1, 0)
    with pytest.raises(StoreFullError):
        backend.enqueue(jobs("a"))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """As long as it lasts no file of this process grows beyond `size` bytes: the system refuses the write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
def test_a_write_that_the_system_refuses(open_store: Open, driver: Driver, wal: bool) -> None:
    """A write that fails half way changes nothing, and the next one works once there is room."""
    # Given
    backend = open_store(driver=driver, wal=wal)
    backend.enqueue(jobs("a"))
    # When
    with file_size_limit(200_000), pytest.raises((StoreFullError, BrokerUnavailableError)):
        backend.enqueue(jobs("b", body=BIG))
    # Then
    assert backend.enqueue(jobs("b", body=BIG)) == [True]
    assert [delivery.message.id for delivery in backend.claim("one", 9, 0)] == ["a", "b"]


# Locked


@contextmanager
def locked(file: Path, *statements: str) -> Iterator[None]:
    """Another program holds the file by these statements (a process of its own: locks are kept per process)."""
    ready, go = os.pipe(), os.pipe()
    if (pid := os.fork()) == 0:
        other = sqlite3.connect(file, isolation_level=None)
        for statement in statements:
            other.execute(statement).fetchall()
        os.write(ready[1], b".")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        yield
    finally:
        os.write(go[1], b".")
        os.waitpid(pid, 0)
        for number in (*ready, *go):
            os.close(number)


def test_a_locked_file_is_waited_for_up_to_the_limit(open_store: Open, driver: Driver, file: Path) -> None:
    """Reads and writes end with an error that says another try may succeed, and it does."""
    backend = open_store(driver=driver, busy_limit=0.05)
    backend.enqueue(jobs("a"))
    with locked(file, "BEGIN EXCLUSIVE"):
        for call in (lambda: backend.enqueue(jobs("b")), lambda: backend.show(["a"]), lambda: backend.claim("c", 1, 0)):
            with pytest.raises(BrokerUnavailableError, match="locked"):
                call()
    assert backend.enqueue(jobs("b")) == [True]


@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
def test_a_locked_file_cannot_be_looked_at(open_store: Open, driver: Driver, file: Path, wal: bool) -> None:
    """What `pyxqueue info` and `doctor` show of the file waits for the lock too, also where that is the first call."""
    open_store(driver=driver, wal=wal).enqueue(jobs("a"))
    backend = open_store(driver=driver, wal=wal, busy_limit=0.05)
    lock = ["PRAGMA locking_mode = EXCLUSIVE"] if wal else []
    for look in (backend.about, lambda: list(backend.diagnose())):
        with locked(file, *lock, "BEGIN EXCLUSIVE"), pytest.raises(BrokerUnavailableError, match="locked"):
            look()
    assert backend.about()["journal"].startswith("WAL" if wal else "rollback")


def test_a_reader_that_stays_keeps_a_write_from_its_end(open_store: Open, driver: Driver, file: Path) -> None:
    """A write that cannot be finished is undone, says so, and the next one works once the reader has gone."""
    backend = open_store(driver=driver, busy_limit=0.05)
    backend.enqueue(jobs("a"))
    with (
        locked(file, "BEGIN", "SELECT * FROM task"),
        pytest.raises(BrokerUnavailableError, match="locked"),
    ):
        backend.enqueue(jobs("b"))
    assert backend.show(["b"]) == [None]
    assert backend.enqueue(jobs("b")) == [True]


def test_a_lock_that_ends_is_waited_for(open_store: Open, file: Path) -> None:
    """A call that finds the file locked goes on when the lock is released, without an error."""
    backend = open_store()
    backend.enqueue(jobs("a"))
    other = open_store()
    other.lease_ms()
    tried = []

    def connect(uri: str) -> Connection:
        connection = standard().connect(uri)
        execute = connection.execute

        def counted(sql: str, values: Sequence[Value] = ()) -> Rows:
            if sql == "BEGIN IMMEDIATE":
                tried.append(sql)
                if len(tried) == 3:
                    keeper.close()
            return execute(sql, values)

        connection.execute = counted  # type: ignore[method-assign] # to see and time the calls
        return connection

    waiting = open_store(driver=Driver("sqlite3", standard().version, connect))
    with closing(sqlite3.connect(file, isolation_level=None)) as keeper:
        keeper.execute("BEGIN IMMEDIATE")
        assert waiting.enqueue(jobs("b")) == [True]
    assert len(tried) == 3


# Deleted, replaced, read-only, damaged


@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
def test_a_deleted_file_is_said_once(open_store: Open, file: Path, wal: bool) -> None:
    """What was written into a file without a name is gone: the call says so, and the next begins again."""
    # Given
    backend = open_store(wal=wal)
    backend.enqueue(jobs("a"))
    # When
    file.unlink()
    with pytest.raises(BrokerUnavailableError, match="deleted or replaced"):
        backend.enqueue(jobs("b"))
    # Then
    assert backend.enqueue(jobs("b")) == [True]
    assert [info and info.id for info in backend.show(["a", "b"])] == [None, "b"]


@pytest.mark.parametrize("wal", [False, True], ids=["rollback", "wal"])
def test_a_replaced_file_is_said_once(open_store: Open, file: Path, wal: bool) -> None:
    """The same for a file in whose place another was put; from then on that one is used."""
    # Given
    backend, spare = open_store(wal=wal), open_store(file.parent / "spare.db", wal=wal)
    backend.enqueue(jobs("a"))
    spare.enqueue(jobs("z"))
    spare.close()
    # When
    (file.parent / "spare.db").replace(file)
    with pytest.raises(BrokerUnavailableError, match="deleted or replaced"):
        backend.enqueue(jobs("b"))
    # Then
    assert [info and info.id for info in backend.show(["a", "z"])] == [None, "z"]


@pytest.mark.parametrize("name", ["wal", "journal"])
def test_what_is_left_of_a_deleted_file_is_not_applied_to_a_new_one(open_store: Open, file: Path, name: str) -> None:
    """Whoever deletes the file after a crash seldom thinks of the log beside it."""
    # Given
    backend = open_store(wal=name == "wal")
    backend.enqueue(jobs("a"))
    beside = file.with_name(f"queue.db-{name}")
    kept = beside.read_bytes()
    backend.close()
    file.unlink()
    beside.write_bytes(kept)
    # When
    again = open_store(wal=True)
    # Then
    assert again.enqueue(jobs("b")) == [True]
    assert again.show(["a"]) == [None]


def test_who_waits_learns_that_the_file_is_gone(open_store: Open, file: Path) -> None:
    """Nobody waits for ever for a result in a file that nobody can write to any more."""
    asked = []

    def connect(uri: str) -> Connection:
        connection = standard().connect(uri)
        execute = connection.execute

        def counted(sql: str, values: Sequence[Value] = ()) -> Rows:
            if sql == "PRAGMA data_version":
                asked.append(sql)
                if len(asked) == 3:  # it looked before it fell asleep, and is asleep now
                    file.unlink()
            return execute(sql, values)

        connection.execute = counted  # type: ignore[method-assign] # to see and time the calls
        return connection

    backend = open_store(driver=Driver("sqlite3", standard().version, connect))
    backend.enqueue(jobs("a"))
    with pytest.raises(BrokerUnavailableError, match="deleted or replaced"):
        backend.wait(["a"], None)


def test_a_read_only_file_is_said(open_store: Open, driver: Driver) -> None:
    """The rights are what to look at, and trying again is no use."""

    def connect(uri: str) -> Connection:
        return standard().connect(uri.replace("mode=rw", "mode=ro"))

    first = open_store()
    first.enqueue(jobs("a"))
    backend = open_store(driver=Driver("sqlite3", driver.version, connect))
    assert backend.show(["a"])[0] is not None
    with pytest.raises(StoreFileError, match="cannot be written"):
        backend.enqueue(jobs("b"))


def test_a_folder_where_nothing_can_be_made(open_store: Open) -> None:
    """Also for root: there are folders in which no file can be made."""
    with pytest.raises(StoreFileError, match="cannot be made"):
        open_store(Path("/proc/self/queue.db")).lease_ms()


@pytest.mark.parametrize("call", ["show", "claim"])
def test_a_damaged_file_is_said(open_store: Open, driver: Driver, file: Path, call: str) -> None:
    """Bytes that no page can have are a typed error in reads and writes, which ends a worker; the file is kept."""
    # Given
    backend = open_store(driver=driver)
    backend.enqueue([Message(f"t{number:04}", "kit.job", b"x" * 500) for number in range(500)])
    backend.close()
    with file.open("r+b") as damaged:
        for page in range(3, file.stat().st_size // 4096):
            damaged.seek(page * 4096)
            damaged.write(b"\xff" * 1000)
    # When
    with pytest.raises(StoreFileError, match="is damaged") as raised:
        backend.show(["t0400"]) if call == "show" else backend.claim("one", 100, 0)
    # Then
    assert not isinstance(raised.value, BrokerUnavailableError)


def test_a_damaged_header_is_said(open_store: Open, file: Path) -> None:
    """Also one that only SQLite can tell."""
    backend = open_store()
    backend.lease_ms()
    backend.close()
    content = bytearray(file.read_bytes())
    content[16:18] = b"\x00\x07"  # a page size that there is not
    file.write_bytes(content)
    with pytest.raises(StoreFileError, match="is damaged"):
        backend.lease_ms()


def test_a_copy_is_a_store_of_its_own(open_store: Open, file: Path) -> None:
    """A file that is copied while nobody uses it can be opened elsewhere."""
    backend = open_store()
    backend.enqueue(jobs("a"))
    backend.close()
    shutil.copy(file, file.parent / "copy.db")
    assert open_store(file.parent / "copy.db").enqueue(jobs("a")) == [False]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (5, BrokerUnavailableError),
        (6, BrokerUnavailableError),
        (517, BrokerUnavailableError),
        (8, StoreFileError),
        (3, StoreFileError),
        (10, BrokerUnavailableError),
        (11, StoreFileError),
        (13, StoreFullError),
        (14, StoreFileError),
        (26, StoreFileError),
        (1, BrokerError),
    ],
)
def test_every_code_has_its_error(file: Path, code: int, kind: type[BrokerError]) -> None:
    """By the code of SQLite's answer, whatever its words; the extended codes go with their family."""
    file.touch()
    assert type(typed(DriverError(code, "words"), str(file))) is kind
