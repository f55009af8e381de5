"""Where random walks and state machines run: a store of each kind, made anew for each of their sequences."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TypeAlias

import redis
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from pyxqueue.testing.memory import MemoryHarness

from .redis_harness import RedisHarness, fake_client
from .sqlite_harness import SQLiteHarness

MakeHarness: TypeAlias = Callable[[], AbstractContextManager[MemoryHarness | SQLiteHarness | RedisHarness]]


def in_memory() -> AbstractContextManager[MemoryHarness]:
    return nullcontext(MemoryHarness())


def in_file() -> AbstractContextManager[SQLiteHarness]:
    return closing(SQLiteHarness())


def on_fakeredis() -> AbstractContextManager[RedisHarness]:
    return closing(RedisHarness(fake_client()))


def on_server(url: str) -> MakeHarness:
    return lambda: closing(RedisHarness(redis.Redis.from_url(url)))


def run(machine: type[RuleBasedStateMachine], make: MakeHarness, examples: int, steps: int) -> None:
    """Run a machine that makes its store with `make_harness`, for so many sequences of so many steps."""
    on_it = type("Machine", (machine,), {"make_harness": staticmethod(make)})
    run_state_machine_as_test(on_it, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None))


def replay(state: RuleBasedStateMachine, *steps: Callable[[], object]) -> None:
    """Take steps that were found, and check after each of them what must hold."""
    for step in (lambda: None, *steps):
        step()
        for one in state.invariants:
            one.function(state)
