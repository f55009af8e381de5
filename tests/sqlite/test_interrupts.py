"""A task that is interrupted while it uses the queue leaves nothing locked, and nothing that others wait for."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.backends.sqlite.process import HOOKS, PROCESS
from pyxqueue.backends.sqlite.store import Store
from pyxqueue.model.message import Done, Message, Record, Settlement, TaskStatus
from tests.support.interrupting import Interrupt, places
from tests.support.until import PATIENCE, until

from .conftest import Open

LONG = 20_000
Operation = Callable[[SQLiteBackend, Iterator[int]], object]
OPERATIONS: dict[str, Operation] = {
    "enqueue": lambda backend, numbers: backend.enqueue([Message(f"n{next(numbers)}", "job", delay_ms=10**9)]),
    "wait": lambda backend, _: backend.wait(["waiting"], 1),
    "show": lambda backend, _: backend.show(["waiting"]),
}


@pytest.fixture(autouse=True)
def no_complaints(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python says that an error of a `__del__` is lost, and that a connection was not closed: both may be here."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    gc.collect()


def is_idle(store: Store) -> bool:
    """Whether all its connections are there for the next call, but for the one that polls."""
    return store._lent == 0 and len(store._idle) + (store._ear is not None) == len(store._all)


@pytest.mark.parametrize("wal", [False, True])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_interrupt_at_any_place(open_store: Open, name: str, wal: bool) -> None:
    """Other threads and other programs go on, and a fork waits for nobody."""
    here, there = open_store(wal=wal), open_store(wal=wal, busy_limit=0.5)
    here.enqueue([Message("waiting", "job", delay_ms=10**9)])
    numbers, others = itertools.count(), itertools.count()
    with ThreadPoolExecutor(1) as pool:
        for place in places(lambda: OPERATIONS[name](here, numbers)):
            there.enqueue([Message(f"there{next(others)}", "job", delay_ms=10**9)])
            pool.submit(here.enqueue, [Message(f"other{place}", "job", delay_ms=10**9)]).result(PATIENCE)
            until(lambda: is_idle(here._store), f"all connections are given back, after place {place}")


def test_an_interrupt_while_the_process_forks(open_store: Open) -> None:
    """No connection crosses the fork, and other threads go on after it. Python ignores what its hooks raise."""
    here, numbers, crossing = open_store(), itertools.count(), list[object]()
    hooks = [PROCESS._before] * HOOKS
    hooks += [lambda: crossing.extend(here._store._all), *[PROCESS._after_in_parent] * HOOKS]

    def fork() -> None:
        for hook in hooks:
            try:  # noqa: SIM105 - `suppress` can be interrupted itself
                hook()
            except Interrupt:
                pass

    with ThreadPoolExecutor(1) as pool:
        for _ in places(fork):
            pool.submit(here.enqueue, [Message(f"n{next(numbers)}", "job")]).result(PATIENCE)
    assert not crossing


def test_waits_are_woken_after_an_interrupt(open_store: Open) -> None:
    """Whatever another wait was doing when it was interrupted."""
    here, there = open_store(), open_store()
    with ThreadPoolExecutor(1) as pool:
        for place in places(lambda: here.wait(["none"], 1)):
            there.enqueue([Message(f"t{place}", "job")])
            wait = pool.submit(here.wait, [f"t{place}"], LONG)
            (held,) = there.claim("one", 1, 0)
            there.settle([Settlement(held.receipt, Done(), Record(held.message.id, TaskStatus.SUCCESS))])
            assert wait.result(LONG / 4000), place
