"""For the tests of an application: run what is ready, and assert what was enqueued."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from ..client.queue import TaskQueue
from ..client.result import AsyncResult
from ..client.task import Task
from ..codec import Codec
from ..eager.backend import NoInterrupter
from ..errors import ArgumentError, SerializationError
from ..ids import new_id
from ..inflight import InFlightTable
from ..model.message import Message, TaskInfo
from ..protocols import Inspector
from ..worker.executors import Inline
from ..worker.serving import QueueParts
from ..worker.tally import tally_of
from ..worker.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")
_SHOWN = 20
_PAGE = 100


def drain(queue: TaskQueue) -> int:
    """Run everything that is ready on the queue's store, in this thread, with the queue's own tasks; return how many
    runs that were.

    For queues that are not eager: on ``memory://``, or on a store of a test without worker processes. Delayed tasks
    stay delayed, soft time limits do not apply, and a task must end within the lease.
    """
    core, stores, executor, consumer = queue.core, queue.stores, Inline(NoInterrupter()), f"drain-{new_id()}"
    tally = tally_of(stores.backend, core.registry, consumer, wanted=core.statistics)
    parts = QueueParts(stores.backend, core.registry, core.codec, core.observer, tally=tally)
    worker = Worker([parts], executor, consumer, InFlightTable())
    try:
        return worker.drain()
    finally:
        executor.close()
        stores.backend.release(consumer, [])


def assert_enqueued(queue: TaskQueue, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
    """Assert that this call of the task was enqueued, whatever became of it; return the handle of the latest one.

    The stored arguments are decoded and compared with defaults filled in: ``f(1)`` is ``f(n=1)``. Raises
    `AssertionError`, which lists the tasks there are, and `ArgumentError` for a call that the task does not take.
    """
    signature = inspect.signature(task.function)
    wanted = _bound(signature, args, kwargs)
    if wanted is None:
        raise ArgumentError(f"{_written(task.name, args, kwargs)} is not a call that {task.name}{signature} takes")
    seen: list[str] = []
    for info in _tasks(queue.stores.backend):
        call = _call(info, queue.core.codec)
        if call is not None and call[0] == task.name and _bound(signature, *call[1:]) == wanted:
            return queue.result(info.id)
        seen.append(_line(info, call))
    shown = "\n".join(f"  {line}" for line in seen[:_SHOWN]) or "  nothing"
    more = f"\n  and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else ""
    raise AssertionError(f"{_written(task.name, args, kwargs)} was not enqueued; there is\n{shown}{more}")


def _bound(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Parameters and their values; None if the function cannot be called like this."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    return bound.arguments


def _tasks(inspector: Inspector) -> Iterator[TaskInfo]:
    """Every task, newest first."""
    page, cursor = inspector.tasks(None, "", _PAGE)
    yield from page
    while cursor:
        page, cursor = inspector.tasks(None, cursor, _PAGE)
        yield from page


def _call(info: TaskInfo, codec: Codec) -> tuple[str, Sequence[Any], Mapping[str, Any]] | None:
    """Name and arguments, or None for what cannot be read here."""
    message = info.message
    if not isinstance(message, Message) or message.serializer not in codec.serializers:
        return None
    try:
        return message.name, *codec.open_call(message)
    except SerializationError:
        return None


def _line(info: TaskInfo, call: tuple[str, Sequence[Any], Mapping[str, Any]] | None) -> str:
    return f"{_written(*call) if call else f'{info.id}, unreadable'} ({info.status.name})"


def _written(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    words = [*(repr(value) for value in args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"{name}({', '.join(words)})"
