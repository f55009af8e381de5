"""The list of the queues that a store keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from redis import Redis

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.backends.redis import inspector
from pyxqueue.model.message import Message
from pyxqueue.protocols import Backend, HasQueues, StoreOptions
from pyxqueue.stores import find_store

from .conftest import Servers, kinds_to_test

Open: TypeAlias = Callable[[str], Backend]


@pytest.fixture
def url(servers: Servers) -> Iterator[str]:
    server = servers(kinds_to_test()[0])
    with Redis.from_url(server.url) as client:
        client.flushall()
        yield server.url
        client.flushall()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens queues of one store."""
    handles: list[Backend] = []
    memory = MemoryStore()
    place = request.getfixturevalue("url") if request.param == "redis" else f"sqlite:///{tmp_path}/q.db"

    def opened(name: str) -> Backend:
        options = StoreOptions(name)
        handles.append(
            MemoryBackend(memory, options) if request.param == "memory" else find_store(place, options).open()
        )
        return handles[-1]

    yield opened
    for handle in handles:
        handle.close()


def queues(backend: Backend, limit: int) -> tuple[list[str], bool]:
    assert isinstance(backend, HasQueues)
    names, complete = backend.queues(limit)
    return list(names), complete


def test_every_queue_is_named(opened: Open) -> None:
    """Queues come in alphabetical order, also one without tasks; one that was only looked at is not named."""
    for name in ("mail:eu", "b", "a"):
        backend = opened(name)
        backend.enqueue([Message("one", "job")])
    backend.delete(["one"])

    assert queues(opened("looking"), 10) == (["a", "b", "mail:eu"], True)
    assert queues(opened("looking"), 3) == (["a", "b", "mail:eu"], True)
    assert queues(opened("looking"), 2)[1] is False
    assert len(queues(opened("looking"), 2)[0]) == 2


def test_an_empty_store_has_none(opened: Open, tmp_path: Path) -> None:
    """An empty store has no queues, and looking makes none."""
    backend = opened("looking")

    assert queues(backend, 10) == ([], True)
    assert backend.groups() == []
    assert list(tmp_path.iterdir()) == []


def test_a_full_server_is_not_searched_to_its_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may be full of other things; the look ends, and says that there may be more."""
    monkeypatch.setattr(inspector, "_SCAN", 10)
    monkeypatch.setattr(inspector, "_MAX_SCANNED", 100)
    with Redis.from_url(url) as client:
        client.mset({f"other:{number}": 1 for number in range(1_000)})
        client.hset("{bad name}:meta", "group:cg", "x")
    backend = find_store(url, StoreOptions("mail")).open()
    backend.enqueue([Message("one", "job")])

    names, complete = queues(backend, 10)

    assert (set(names) <= {"mail"}, complete) == (True, False)
    backend.close()
