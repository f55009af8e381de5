"""Resources: one instance for each process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyxqueue import ConfigurationError, TaskQueue


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue("memory://", eager=True)


def test_it_is_opened_at_its_first_use(queue: TaskQueue) -> None:
    """Once, and returned from then on."""
    opened: list[object] = []

    @queue.resource
    def pool() -> object:
        opened.append(object())
        return opened[-1]

    @queue.task(name="use")
    def use() -> bool:
        return pool() is opened[0]

    assert opened == []
    assert [use().get(), use().get(), pool() is opened[0]] == [True, True, True]
    assert len(opened) == 1


def test_the_queue_closes_them(queue: TaskQueue) -> None:
    """The last that was opened first; the next use opens them again."""
    said: list[str] = []

    @queue.resource
    def first() -> Iterator[str]:
        said.append("open first")
        yield "one"
        said.append("close first")

    @queue.resource
    def second() -> Iterator[str]:
        value = first() + " two"
        said.append("open second")
        yield value
        said.append("close second")

    assert (second(), first()) == ("one two", "one")
    queue.close()
    queue.close()

    assert said == ["open first", "open second", "close second", "close first"]
    assert second() == "one two"
    queue.close()


def test_threads_share_one(queue: TaskQueue) -> None:
    """Those that come while it is opened wait for it."""
    opened, go = [], threading.Barrier(5)

    @queue.resource
    def pool() -> object:
        opened.append(threading.get_ident())
        return object()

    def look() -> None:
        go.wait()
        seen.append(pool())

    seen: list[object] = []
    threads = [threading.Thread(target=look) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == 1
    assert len(set(map(id, seen))) == 1
    assert len(seen) == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_has_its_own(queue: TaskQueue) -> None:
    """It neither uses nor closes what its parent has open."""
    said: list[str] = []

    @queue.resource
    def pool() -> Iterator[int]:
        yield os.getpid()
        said.append("closed")

    mine = pool()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        queue.close()
        os.write(writing, f"{said} {pool() == os.getpid()}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)

    assert os.read(reading, 100) == b"[] True"
    os.close(reading)
    assert pool() == mine
    queue.close()
    assert said == ["closed"]


def test_one_that_cannot_be_opened(queue: TaskQueue) -> None:
    """The task that needs it fails, and the next one tries again."""
    tries: list[int] = []

    @queue.resource
    def pool() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("the database is away")
        return "there"

    with pytest.raises(OSError, match="the database is away"):
        pool()
    assert pool() == "there"


def test_an_error_when_it_is_closed(queue: TaskQueue, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the others are closed."""
    said: list[str] = []

    @queue.resource
    def good() -> Iterator[int]:
        yield 1
        said.append("closed")

    @queue.resource
    def bad() -> Iterator[int]:
        yield 2
        raise OSError("it is gone already")

    @queue.resource
    def twice() -> Iterator[int]:
        yield 3
        yield 4

    assert (good(), bad(), twice()) == (1, 2, 3)
    queue.close()

    assert said == ["closed"]
    assert "raised an error when it was closed" in caplog.text
    assert "yields more than once" in caplog.text


def test_what_is_not_valid(queue: TaskQueue) -> None:
    """Each mistake says what to write instead."""

    @queue.resource
    def nothing() -> Iterator[int]:
        yield from ()

    @queue.resource
    def itself() -> Any:
        return itself()

    async def later() -> None: ...

    with pytest.raises(ConfigurationError, match="yields nothing"):
        nothing()
    with pytest.raises(ConfigurationError, match="needs itself"):
        itself()
    with pytest.raises(ConfigurationError, match="is async"):
        queue.resource(later)
    with pytest.raises(ConfigurationError, match="needs a function"):
        queue.resource(3)  # type: ignore[call-overload] # what is tested
