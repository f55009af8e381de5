"""A task that this worker has not, and another one has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.errors import BrokerUnavailableError
from pyxqueue.model.message import TaskStatus
from pyxqueue.model.presence import Announcement, Present, Process
from pyxqueue.policy import MAX_DEFERRALS
from pyxqueue.protocols import StoreOptions
from pyxqueue.worker.colleagues import Colleagues

from .harness import Bench

MINUTE = 60_000


@pytest.fixture
def bench() -> Bench:
    """With a task that this worker has not, and that was deferred as often as possible."""
    bench = Bench()
    bench.put("theirs", deferrals=MAX_DEFERRALS)
    return bench


def announce(bench: Bench, *tasks: str, keep: int = MINUTE, draining: bool = False) -> None:
    said = Announcement("web2", 7, "1", "3", tasks, 0, draining, {"worker": Process(8, 5, 1, 1, [])})
    bench.broker.announce("supervisor", keep, said.text())


def status(bench: Bench) -> TaskStatus:
    bench.worker().drain()
    (info,) = bench.broker.show(["t1"])
    assert info is not None
    return info.status


def test_it_waits_for_that_worker(bench: Bench) -> None:
    """For as long as that lives, and fails then."""
    for _ in range(20):
        announce(bench, "theirs")
        assert status(bench) is TaskStatus.PENDING
        bench.clock.advance(MINUTE)

    assert status(bench) is TaskStatus.FAILURE


@pytest.mark.parametrize("said", [{"tasks": ["other"]}, {"draining": True}, {"keep": 0}], ids=repr)
def test_it_fails_if_nobody_takes_it(bench: Bench, said: dict[str, Any]) -> None:
    """Other workers have other tasks, or claim no more, or are silent."""
    announce(bench, *said.pop("tasks", ["theirs"]), **said)
    bench.clock.advance(1)

    assert status(bench) is TaskStatus.FAILURE


def test_the_store_is_asked_once_in_a_while() -> None:
    """However many tasks there are; and not believed to know of nobody while it cannot be reached."""
    bench, now, asked = Bench(), [0.0], list[float]()

    class Store(MemoryBackend):
        def present(self) -> Sequence[Present]:
            asked.append(now[0])
            if now[0] == 0:
                raise BrokerUnavailableError("away")
            return super().present()

    bench.broker = Store(MemoryStore(bench.clock), StoreOptions("tasks", bench.group))
    bench.broker.lease_ms()
    announce(bench, "theirs")
    colleagues = Colleagues(bench.broker, lambda: now[0])
    assert colleagues.can_run("other")
    now[0] = 1

    assert [colleagues.can_run(name) for name in ("theirs", "other", "theirs")] == [True, False, True]
    assert asked == [0, 1]
    announce(bench, "other")
    now[0] = 11
    assert colleagues.can_run("other")
