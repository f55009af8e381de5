"""Enqueues calls that may return the handle of a task that is there already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..calls import Call
from ..clock import milliseconds
from ..errors import BrokerUnavailableError, ConfigurationError
from ..log import get_logger
from ..model.locks import LockKind, Placed, Placement
from ..model.message import FLOW_VERSION, Message, evolve
from ..options.uniqueness import Debounce, Guard, kind_of, lock_for, terms_of
from ..protocols import AsyncHasLocks, Backend, Beginning, HasLocks
from ..registry import TaskSpec
from ..stores import OpenStore

if TYPE_CHECKING:
    from .bounding import Bound

_TRIES = 20

log = get_logger("pyxqueue")


class Stored(NamedTuple):
    """The task that stands for a call."""

    id: str
    created: bool
    """Whether the call has created it."""
    conflicted: bool = False
    """Whether another task held the lock of the call."""


Rounds: TypeAlias = Generator[list[Message], Sequence[Placed], list[Stored]]
"""Yields messages for `enqueue_unique`, and is sent what that returns."""


def rounds_of(
    task: TaskSpec,
    calls: Sequence[Call],
    make: Callable[[Call, str], Message],
    ids: Sequence[str],
    guard: Guard,
    *,
    are_new: bool,
) -> Rounds:
    """Enqueue calls, one for each of `ids`. `make` returns the message of a call under an id; `are_new`: the ids were
    made for these calls.

    A call that is to give its arguments to a debounced task is made again under the id of that task, to which its seal
    is bound. If the task has become due meanwhile, the call begins another.
    """
    locks = [lock_for(guard, task.name, task.signature, call) for call in calls]
    return _rounds(
        lambda number, task_id: _with_lock(make(calls[number], task_id), locks[number], guard), ids, guard, are_new
    )


def _rounds(make: Callable[[int, str], Message], ids: Sequence[str], guard: Guard, are_new: bool) -> Rounds:
    joins = isinstance(guard, Debounce) and guard.keep == "last"
    found: dict[int, Stored] = {}
    pending = dict(enumerate(ids))
    for _ in range(_TRIES):
        asked, pending = pending, {}
        placed = yield [make(number, task_id) for number, task_id in asked.items()]
        for (number, task_id), (placement, holder) in zip(asked.items(), placed, strict=True):
            is_own = task_id == ids[number]
            if placement is Placement.HELD and joins:
                pending[number] = holder
            elif placement is Placement.KNOWN and not is_own:
                pending[number] = ids[number]
            created = placement is Placement.NEW or (placement is Placement.KNOWN and are_new)
            found[number] = Stored(holder, created, placement in (Placement.HELD, Placement.REPLACED))
            if placement is Placement.HELD:
                log.debug("no task was enqueued for a call, since task %s has its lock", holder)
        if not pending:
            return [found[number] for number in range(len(ids))]
    raise BrokerUnavailableError("a debounced task becomes due again and again while a call is about to join it")


def _with_lock(message: Message, lock: str, guard: Guard) -> Message:
    """Return the message with its lock. A worker that would not give back the lock does not read it."""
    version = FLOW_VERSION if kind_of(guard).lasts else message.v
    delay = milliseconds(guard.period) if isinstance(guard, Debounce) else message.delay_ms
    return evolve(message, lock=lock, v=version, delay_ms=delay)


def _lock_keeper(backend: Backend, guard: Guard) -> HasLocks:
    """Return the backend. Raises `ConfigurationError` if it does not keep locks."""
    if isinstance(backend, HasLocks):
        if kind_of(guard) is LockKind.STARTED and not isinstance(backend, Beginning):
            raise ConfigurationError(
                "the store of this queue is not asked when a task starts, which Unique(until='started') needs: leave "
                "out until=, or use a backend with pyxqueue.protocols.Beginning"
            )
        return backend
    raise ConfigurationError(
        f"the store of this queue does not keep locks, which {type(guard).__name__} needs: use the Redis, SQLite or "
        f"memory backend, or one with pyxqueue.protocols.HasLocks"
    )


def enqueue_unique(stores: OpenStore, rounds: Rounds, guard: Guard, bound: Bound | None) -> list[Stored]:
    """Return the tasks that stand for the calls of `rounds`."""
    terms, keeper = terms_of(guard), _lock_keeper(stores.backend, guard)
    try:
        messages = next(rounds)
        while True:
            placed = keeper.enqueue_unique(messages, terms) if bound is None else bound.enqueue(stores, messages, terms)
            messages = rounds.send(placed)
    except StopIteration as end:
        found: list[Stored] = end.value
        return found


async def async_enqueue_unique(stores: OpenStore, rounds: Rounds, guard: Guard, bound: Bound | None) -> list[Stored]:
    """`enqueue_unique` for asyncio: with that of the backend, or in a thread."""
    terms, keeper, producer = terms_of(guard), _lock_keeper(stores.backend, guard), stores.producer
    try:
        messages = next(rounds)
        while True:
            placed: Sequence[Placed]
            if bound is not None:
                placed = await bound.aenqueue(stores, messages, terms)
            elif isinstance(producer, AsyncHasLocks):
                placed = await producer.enqueue_unique(messages, terms)
            else:
                placed = await asyncio.to_thread(keeper.enqueue_unique, messages, terms)
            messages = rounds.send(placed)
    except StopIteration as end:
        found: list[Stored] = end.value
        return found
