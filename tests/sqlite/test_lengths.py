"""A bound on a SQLite queue: what is counted, when, and under which lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.group import Group, length_of
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.locks import LockTerms
from pyxqueue.model.message import Message

from .conftest import Open


def jobs(count: int, prefix: str = "t") -> list[Message]:
    return [Message(f"{prefix}{number}", "job", b"x") for number in range(count)]


def accepted(backend: SQLiteBackend, messages: Sequence[Message], max_length: int) -> int:
    """How many messages were placed."""
    return len(backend.enqueue_within(messages, LockTerms(), max_length).placed)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths that were counted."""
    found: list[int] = []

    def counted(group: Group, most: int) -> int:
        found.append(length_of(group, most))
        return found[-1]

    monkeypatch.setattr("pyxqueue.backends.sqlite.lengths.length_of", counted)
    return found


def test_a_queue_that_cannot_be_full_is_not_counted(open_store: Open, counts: list[int]) -> None:
    """As long as fewer tickets were drawn than the bound allows, no call reads the tasks."""
    backend = open_store()

    for number in range(50):
        assert accepted(backend, jobs(2, f"{number}-"), 1_000) == 2

    assert counts == []


def test_a_queue_is_counted_again_when_it_may_be_full(open_store: Open, counts: list[int]) -> None:
    """After a count, as many tasks as had room are accepted before the next; those of other handles are noticed."""
    backend, other = open_store(), open_store()
    other.enqueue(jobs(100))
    backend.delete([message.id for message in jobs(90)])
    other.enqueue(jobs(1, "later"))

    answers = [accepted(backend, jobs(1, f"a{number}"), 60) for number in range(40)]
    assert answers == [1] * 40
    seen = len(counts)
    other.enqueue(jobs(8, "b"))
    rest = [accepted(backend, jobs(1, f"c{number}"), 60) for number in range(3)]

    assert rest == [1, 0, 0]
    assert 1 <= seen <= 3


def test_a_refused_call_does_not_wait_for_a_writer(open_store: Open, file: Path) -> None:
    """While the queue is full, calls do not keep workers from the file: they only read."""
    backend = open_store()
    assert accepted(backend, jobs(3), 2) == 2

    with closing(sqlite3.connect(file)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert accepted(backend, jobs(1, "more"), 2) == 0


def test_a_count_is_of_one_file(open_store: Open, file: Path, tmp_path: Path, counts: list[int]) -> None:
    """What was counted in a file says nothing about another one that has taken its path, with as many tickets."""
    backend, other = open_store(), open_store(tmp_path / "other.db")
    backend.enqueue(jobs(20))
    backend.delete([message.id for message in jobs(20)])
    assert [accepted(backend, jobs(1, f"a{number}"), 10) for number in range(2)] == [1, 1]
    assert counts[-1] == 1
    other.enqueue(jobs(30))
    other.close()
    (tmp_path / "other.db").replace(file)

    with suppress(BrokerUnavailableError):
        accepted(backend, jobs(1, "b"), 25)

    assert accepted(backend, jobs(1, "c"), 25) == 0
