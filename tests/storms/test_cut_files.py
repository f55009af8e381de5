"""The file of a store is cut anywhere, as by a loss of power: what is left is whole, and what was promised is in it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from attrs import evolve
from redis import Redis

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.driver import Driver, apsw
from pyxqueue.clock import FakeClock
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.support.left_over import in_redis, in_sqlite
from tests.support.redis_harness import RedisHarness
from tests.support.seeds import chance_of
from tests.support.sqlite_harness import always, never

from .disk import Disk
from .history import LEASE, History, audit

ROUNDS = 12


def offsets(size: int, count: int) -> list[int]:
    """Where to cut: at the end, and elsewhere."""
    chance = chance_of(1)
    return sorted({size, *(chance.randrange(size) for _ in range(count - 1))})


# Redis


def log_of(server: Server) -> Path:
    """The append-only file, or its part that grows."""
    (found,) = [*server.folder.glob("appendonly.aof"), *server.folder.glob("appendonlydir/*.incr.aof")]
    return found


@contextmanager
def harness(server: Server, stream_key: str) -> Iterator[RedisHarness]:
    with Redis.from_url(server.url, protocol=2) as client:
        made = RedisHarness(client)
        made.stream_key, made.lease = stream_key, LEASE
        try:
            yield made
        finally:
            for one in made.opened:
                one.close()
            made.raw.close()


def cut_log(kind: ServerKind, stream_key: str, cuts: int) -> set[int]:
    """Play a history, and audit what is left of it at so many places. Returns how many tasks there were each time."""
    found = set()
    with Server(kind, args=("--appendonly", "yes", "--appendfsync", "always")) as server:
        with harness(server, stream_key) as first:
            log = log_of(server)
            backend = first.open(history=10_000)
            history = History(backend, lambda: log.stat().st_size, chance_of(1))
            history.play(ROUNDS)
        server.kill()
        whole = log.read_bytes()
        kept = server.folder.with_name(f"{server.folder.name}-kept")
        shutil.copytree(server.folder, kept, ignore=shutil.ignore_patterns("s"))
        try:
            for offset in offsets(len(whole), cuts):
                shutil.copytree(kept, server.folder, dirs_exist_ok=True)
                log.write_bytes(whole[:offset])
                server.start()
                with harness(server, stream_key) as again:
                    found.add(audit(history, offset, again.open(history=10_000), again.advance))
                    for _, keys in again.groups():
                        left = in_redis(again.raw.execute_command, keys)
                        assert left in ({}, {keys.gates: 1}), f"at {offset}"  # a counter
                server.kill()
        finally:
            shutil.rmtree(kept)
    return found


@pytest.mark.parametrize("kind", [kind for kind in kinds_to_test() if kind in ("valkey", "redis62")])
def test_a_cut_log_of_redis(stream_key: str, kind: ServerKind) -> None:
    """Twelve places."""
    assert len(cut_log(kind, stream_key, cuts=12)) > 5


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_log_of_redis_cut_at_200_places(stream_key: str, kind: ServerKind) -> None:
    """Each prefix is a legal state."""
    assert len(cut_log(kind, stream_key, cuts=200)) > 20


# SQLite


def cut_wal(folder: Path, cuts: int) -> set[int]:
    """The same with the write-ahead log of a file that syncs it at each transaction."""
    path, clock, found = folder / "queue.db", FakeClock(), set[int]()
    options = StoreOptions("kit", lease_ms=LEASE, history=10_000)

    def opened(at: Path) -> closing[SQLiteBackend]:
        return closing(SQLiteBackend(at, options, clock=clock, safe_for_wal=always, durability="full"))

    wal = Path(f"{path}-wal")
    with opened(path) as backend:
        backend.lease_ms()
        history = History(backend, lambda: wal.stat().st_size, chance_of(1))
        history.play(ROUNDS)
        main, whole = path.read_bytes(), wal.read_bytes()
    for offset in offsets(len(whole), cuts):
        there = folder / f"cut-{offset}.db"
        there.write_bytes(main)
        Path(f"{there}-wal").write_bytes(whole[:offset])
        with opened(there) as backend:
            found.add(audit(history, offset, backend, clock.advance))
        with closing(sqlite3.connect(there)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], f"at {offset}"
            assert in_sqlite(db).keys() <= {"consumers"}, f"at {offset}"  # nobody takes them from the list here
        there.unlink()
    return found


# SQLite with a rollback journal


def powered(disk: Disk) -> Driver:
    """A driver whose files are on this disk."""
    driver = apsw()
    assert driver is not None
    return evolve(driver, connect=lambda uri: driver.connect(f"{uri}&vfs={disk.name}"))


def cut_power(folder: Path, cuts: int) -> set[int]:
    """Play a history on a disk that remembers each write, and audit what a loss of power leaves of the files."""
    path, clock, found = folder / "queue.db", FakeClock(), set[int]()
    options = StoreOptions("kit", lease_ms=LEASE, history=10_000)
    chance = chance_of(1)
    with closing(Disk()) as disk:
        backend = SQLiteBackend(path, options, clock=clock, safe_for_wal=never, durability="full", driver=powered(disk))
        with closing(backend):
            backend.lease_ms()
            begun = len(disk.writes)
            history = History(backend, lambda: len(disk.writes), chance_of(1))
            history.play(ROUNDS)
        total = len(disk.writes)
        for cut in sorted({total, *(chance.randrange(begun, total) for _ in range(cuts - 1))}):
            there = folder / f"cut-{cut}.db"
            disk.restore(cut, chance, {str(path): there, f"{path}-journal": Path(f"{there}-journal")})
            with closing(SQLiteBackend(there, options, clock=clock, safe_for_wal=never, durability="full")) as left:
                found.add(audit(history, cut, left, clock.advance))
                with left._store.read() as db:
                    assert db.execute("PRAGMA integrity_check") == [("ok",)], f"at write {cut}"
            there.unlink()
    return found


def test_a_cut_log_of_sqlite(tmp_path: Path) -> None:
    """Thirty places."""
    assert len(cut_wal(tmp_path, cuts=30)) > 10


@pytest.mark.soak
def test_a_log_of_sqlite_cut_at_1000_places(tmp_path: Path) -> None:
    """Each prefix is a legal state."""
    assert len(cut_wal(tmp_path, cuts=1_000)) > 20


def test_a_loss_of_power(tmp_path: Path) -> None:
    """At fifteen writes."""
    assert len(cut_power(tmp_path, cuts=15)) > 5


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_many_losses_of_power(tmp_path: Path) -> None:
    """What was promised is there, whichever of the writes since the last sync have reached the disk."""
    assert len(cut_power(tmp_path, cuts=300)) > 20
