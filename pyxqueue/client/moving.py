"""Carrying the tasks of one group from one store to another, so that none is lost and none runs in both.

A task is first adopted by the target and then deleted from the source. Between the two it is in both, which is why no
worker may serve the source meanwhile, and why a move that was killed is simply run again: what the target knows by its
id it does not take twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from attrs import frozen

from ..errors import ConfigurationError, TaskStateError
from ..ids import new_id
from ..model.message import ADOPTABLE, ConsumerInfo, Depth, Message, TaskInfo, TaskStatus, Unreadable
from ..protocols import Backend, StoreOptions, in_one_process
from ..stores import absolute, find_store
from ..urls import shown
from .settings import check_names

_BATCH = 100


NO_LIMIT = 2**31
"""Of the history: it is the application's to know, and a smaller one would cut the history down."""


class Source(Protocol):
    """What a move asks of the store that it empties; the methods are those of a `Backend`."""

    def groups(self) -> Sequence[str]: ...
    def lease_ms(self) -> int: ...
    def consumers(self) -> Sequence[ConsumerInfo]: ...
    def release(self, consumer: str, started: Sequence[str]) -> int: ...
    def depth(self) -> Depth: ...
    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]: ...
    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]: ...
    def delete(self, ids: Sequence[str]) -> Sequence[bool]: ...


@runtime_checkable
class HasOlderLayout(Protocol):
    """A backend that can read what an older pyxqueue has left in its store."""

    def older(self) -> Source | None:
        """The queue as it was left; None where it is kept as this release keeps it."""
        ...


def source_of(backend: Backend) -> Source:
    """The backend, or its view on a queue of an older layout."""
    older = backend.older() if isinstance(backend, HasOlderLayout) else None
    return backend if older is None else older


@frozen
class Moved:
    """What a move did."""

    waiting: int
    failed: int
    left: int
    """Tasks that are still in the source: a worker has taken them, they came meanwhile, or the target has others of
    their ids."""


@frozen
class MovedGroup:
    """What a move did with one group."""

    group: str
    moved: Moved


def move(source: str, target: str, queue: str = "tasks") -> list[MovedGroup]:
    """Move what waits, is delayed or failed from the store at one URL to that at another, in every group of a queue.

    Nothing is returned where the source has no such queue. Stop the workers of the source and its producers first.
    """
    check_names(stream_key=queue)
    with _opened(source, StoreOptions(queue)) as any_group:
        groups = source_of(any_group).groups()
    return [MovedGroup(group, _move(source, target, queue, group)) for group in groups]


def _move(source: str, target: str, queue: str, group: str) -> Moved:
    with _opened(source, StoreOptions(queue, group, history=NO_LIMIT)) as opened:
        old = source_of(opened)
        # The group keeps its lease, unless it is there already and has one.
        with _opened(target, StoreOptions(queue, group)) as other:
            lease = None if group in other.groups() else old.lease_ms()
        with _opened(target, StoreOptions(queue, group, lease, history=NO_LIMIT)) as new:
            return move_group(old, new)


@contextmanager
def _opened(url: str, options: StoreOptions) -> Iterator[Backend]:
    backend = find_store(url, options).open()
    try:
        if in_one_process(backend):
            raise ConfigurationError(
                f"{shown(absolute(url))} exists only inside one process: tasks cannot be moved from or to it"
            )
        yield backend
    finally:
        backend.close()


def move_group(source: Source, target: Backend) -> Moved:
    """Move what waits, is delayed or failed from one handle's group to the other's, the oldest first.

    What finished stays, with its results. What a dead worker held is taken back from it and moved too.

    Raises `TaskStateError` if both are one store, or if a worker of the source gave a sign of life within its lease.
    """
    _check_apart(source, target)
    _take_from_the_dead(source)
    moved = {True: 0, False: 0}
    for batch in _batches(_movable(source)):
        tasks = _arrived(target, [task for task in source.show(batch) if task is not None and _can_move(task)])
        for task, gone in zip(tasks, source.delete([task.id for task in tasks]), strict=True):
            moved[task.status is TaskStatus.FAILURE] += gone
    return Moved(moved[False], moved[True], len(_movable(source)) + source.depth().in_flight)


def _arrived(target: Backend, tasks: Sequence[TaskInfo]) -> list[TaskInfo]:
    """Have the target adopt these; answers those that are there now, by this move or by an earlier one."""
    refused = [task.id for task, taken in zip(tasks, target.adopt(tasks), strict=True) if not taken]
    there = dict(zip(refused, target.show(refused), strict=True))
    return [task for task in tasks if _is_same(task, there.get(task.id))]


def _is_same(task: TaskInfo, other: TaskInfo | None) -> bool:
    """Whether what another store knows by the id of `task` is that task; of one that has ended it may know little."""
    if other is None or other.message is None:
        return True
    ours, theirs = task.message, other.message
    if isinstance(ours, Message) and isinstance(theirs, Message):
        return (ours.name, ours.body) == (theirs.name, theirs.body)
    return isinstance(ours, Unreadable) and isinstance(theirs, Unreadable) and ours.fields == theirs.fields


def _check_apart(source: Source, target: Backend) -> None:
    """Two addresses may lead to one store, where a task that was adopted would then be deleted."""
    message = Message(new_id(), "pyxqueue.move.probe")
    probe = TaskInfo(message.id, TaskStatus.FAILURE, message, reason="left by a move that was interrupted: delete it")
    target.adopt([probe])
    try:
        seen = source.show([probe.id]) != [None]
    finally:
        target.delete([probe.id])
    if seen:
        raise TaskStateError("source and target are one store: there is nothing to move")


def _take_from_the_dead(source: Source) -> None:
    lease = source.lease_ms()
    consumers = source.consumers()
    alive = {consumer.name: consumer.idle_ms for consumer in consumers if consumer.idle_ms < lease}
    if alive:
        heard = ", ".join(f"{name} ({idle / 1000:.1f} s ago)" for name, idle in sorted(alive.items()))
        raise TaskStateError(
            f"workers serve the source: {heard}; stop them. One that was killed counts as gone {lease / 1000:g} s "
            f"after its last sign of life"
        )
    for consumer in consumers:
        source.release(consumer.name, ())


def _movable(source: Source) -> list[str]:
    """The ids of all that can be moved, the oldest first."""
    ids: list[str] = []
    cursor, more = "", True
    while more:
        page, cursor = source.tasks(None, cursor, _BATCH)
        ids += [task.id for task in page if _can_move(task)]
        more = bool(cursor)
    return ids[::-1]


def _can_move(task: TaskInfo) -> bool:
    return task.status in ADOPTABLE and task.message is not None


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
