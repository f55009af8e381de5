"""Moves the tasks of a queue from one store to another, so that no task is lost and none runs in both.

The target adopts a task before the source deletes it. Between these steps the task is in both stores, so no worker may
serve the source meanwhile. A move that was interrupted can be run again: the target does not adopt an id that it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from attrs import frozen

from ..errors import ConfigurationError, TaskStateError
from ..ids import new_id
from ..model.limits import task_of
from ..model.message import ADOPTABLE, ConsumerInfo, Depth, Message, TaskInfo, TaskStatus, Unreadable
from ..model.rates import has_rate
from ..options.fairness import check_fair_lines
from ..options.limits import limit_store, rate_store
from ..protocols import (
    Backend,
    Changed,
    HasSteps,
    Pausing,
    ScheduleChange,
    StoreOptions,
    confirm,
    in_one_process,
    limit_pausing_of,
    limits_of,
    rates_of,
    schedules_of,
)
from ..stores import absolute, find_store
from ..ticking import store_of_schedules
from ..urls import shown
from .settings import NO_LIMIT, check_names

_BATCH = 100


class Source(Protocol):
    """The methods of a `Backend` that a move calls on the source."""

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
    """A backend that can read the layout of an older release."""

    def older(self) -> Source | None:
        """Return the queue in the older layout; None if the store has the layout of this release."""
        ...


def source_of(backend: Backend) -> Source:
    """Return the backend, or its view of a queue in an older layout."""
    older = backend.older() if isinstance(backend, HasOlderLayout) else None
    return backend if older is None else older


@frozen
class Moved:
    """How many tasks a move has moved."""

    waiting: int
    failed: int
    left: int
    """Tasks that are still in the source: they are in flight, were enqueued meanwhile, or their ids belong to other
    tasks in the target."""


@frozen
class MovedGroup:
    """How many tasks of one group a move has moved."""

    group: str
    moved: Moved


def move(source: str, target: str, queue: str = "tasks") -> list[MovedGroup]:
    """Move the ready, delayed and failed tasks of every group of a queue to another store, with its schedules, limits
    and pauses.

    Returns an empty list if the source does not have the queue. Stop the workers and producers of the source first.
    """
    check_names(stream_key=queue)
    with _opened(source, StoreOptions(queue)) as any_group:
        groups = source_of(any_group).groups()
    moved = [MovedGroup(group, _move(source, target, queue, group)) for group in groups]
    if groups:
        _move_schedules(source, target, StoreOptions(queue, groups[0]))
    return moved


def _move_schedules(source: str, target: str, options: StoreOptions) -> None:
    """Move the schedules of a queue. One whose id the target has stays in the source.

    Raises `ConfigurationError` if there are some, and the target does not keep schedules.
    """
    with _opened(source, options) as old, _opened(target, options) as new:
        here = schedules_of(old)
        if here is None or not (found := [one for one in here.get(here.ids()) if one is not None]):
            return
        there = store_of_schedules(new)
        for one, other in zip(found, there.get([one.id for one in found]), strict=True):
            if other == one or there.change(ScheduleChange(one.id, "", one)) is Changed.DONE:
                confirm(new, [one.id])
                here.change(ScheduleChange(one.id, one.mark, None))


def _move(source: str, target: str, queue: str, group: str) -> Moved:
    with _opened(source, StoreOptions(queue, group, history=NO_LIMIT)) as opened:
        old = source_of(opened)
        # The group keeps its lease, unless the target has the group already.
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
                f"{shown(absolute(url))} exists only inside one process: move tasks between persistent stores"
            )
        yield backend
    finally:
        backend.close()


def move_group(source: Source, target: Backend) -> Moved:
    """Move the ready, delayed and failed tasks of one group, the oldest first, after its pause and its limits.

    The history and its results stay in the source. Messages held by dead workers are released and moved too.

    Raises `TaskStateError` if both are the same store, or if a worker of the source used it within its lease.
    """
    _check_different(source, target)
    _release_dead_workers(source)
    _carry_pause(source, target)
    _carry_limits(source, target)
    moved = {True: 0, False: 0}
    for batch in _batches(_movable(source)):
        tasks = [task for task in source.show(batch) if task is not None and _can_move(task)]
        _check_steps(source, tasks)
        tasks = _arrived(target, tasks)
        for task, gone in zip(tasks, source.delete([task.id for task in tasks]), strict=True):
            moved[task.status is TaskStatus.FAILURE] += gone
    return Moved(moved[False], moved[True], len(_movable(source)) + source.depth().in_flight)


def _carry_pause(source: Source, target: Backend) -> None:
    """Pause the group in the target if it is paused in the source.

    Raises `ConfigurationError` if the target cannot pause a group.
    """
    if isinstance(source, Pausing) and source.is_paused():
        if not isinstance(target, Pausing):
            raise ConfigurationError(
                f"the queue is paused, and {type(target).__name__} cannot pause a queue: resume it, then move it"
            )
        target.pause()


def _carry_limits(source: Source, target: Backend) -> None:
    """Store the numbers and paces of the limits in the target, where it has none of its own: more tasks than they allow
    would become ready there.

    Raises `ConfigurationError` if there are some, and the target does not keep such limits.
    """
    if (limits := limits_of(source)) is not None and (numbers := limits.numbers()):
        there = limit_store(target)
        known = {one.name for one in there.numbers() if one.number != one.declared}
        there.declare({one.name: one.declared for one in numbers if one.declared is not None}, replace=False)
        for one in numbers:
            if one.number != one.declared and one.name not in known:
                there.set(one.name, one.number)
    if (rates := rates_of(source)) is not None and (paces := rates.rates()):
        others = rate_store(target)
        known = {rate.name for rate in others.rates() if rate.pace != rate.declared}
        others.declare_rates({rate.name: rate.declared for rate in paces if rate.declared is not None}, replace=False)
        for rate in paces:
            if rate.pace != rate.declared and rate.name not in known:
                others.set_rate(rate.name, rate.pace)
    if (pausing := limit_pausing_of(source)) is not None and (paused := pausing.paused()):
        _pause_limits(target, paused)


def _pause_limits(target: Backend, names: Sequence[str]) -> None:
    pausing = limit_pausing_of(target)
    if pausing is None:
        task = task_of(names[0])
        what, kind = (f"task {task}", "a task") if task else (f"limit {names[0]}", "a limit")
        raise ConfigurationError(
            f"the {what} is paused, and {type(target).__name__} cannot pause {kind}: resume it, then move it"
        )
    for name in names:
        pausing.pause(name)


def _arrived(target: Backend, tasks: Sequence[TaskInfo]) -> list[TaskInfo]:
    """Let the target adopt tasks. Returns those that it has now, from this move or an earlier one.

    Raises `ConfigurationError` if a task has a limit, a rate or a share, and the target does not keep such, or if it is
    part of a flow.
    """
    if any(has_rate(task.message) for task in tasks):
        rate_store(target)
    if any(task.readable is not None and task.readable.gates for task in tasks):
        limit_store(target)
    if any(task.readable is not None and task.readable.share for task in tasks):
        check_fair_lines(target)
    for task in tasks:
        if task.status is not TaskStatus.FAILURE and task.readable is not None and task.readable.flow:
            raise ConfigurationError(
                f"task {task.id} is part of the flow {task.readable.flow}, which cannot be moved: let the workers end "
                f"it first, or cancel its tasks"
            )
    refused = [task.id for task, taken in zip(tasks, target.adopt(tasks), strict=True) if not taken]
    there = dict(zip(refused, target.show(refused), strict=True))
    return [task for task in tasks if _is_same(task, there.get(task.id))]


def _check_steps(source: Source, tasks: Sequence[TaskInfo]) -> None:
    """Raise `ConfigurationError` if a task has steps or events: without them it would do again what it has done."""
    if not isinstance(source, HasSteps):
        return
    for task in tasks:
        kept = source.load_steps(task.id)
        if task.suspended or kept.steps or kept.events:
            raise ConfigurationError(
                f"task {task.id} has steps or events, which cannot be moved: let the workers end it first, or delete it"
            )


def _is_same(task: TaskInfo, other: TaskInfo | None) -> bool:
    """Return whether `other`, which has the id of `task` in another store, is the same task. If only its id is known,
    it counts as the same."""
    if other is None or other.message is None:
        return True
    ours, theirs = task.message, other.message
    if isinstance(ours, Message) and isinstance(theirs, Message):
        return (ours.name, ours.body) == (theirs.name, theirs.body)
    return isinstance(ours, Unreadable) and isinstance(theirs, Unreadable) and ours.fields == theirs.fields


def _check_different(source: Source, target: Backend) -> None:
    """Raise `TaskStateError` if two URLs lead to one store: a move would delete each task after adopting it."""
    message = Message(new_id(), "pyxqueue.move.probe")
    probe = TaskInfo(message.id, TaskStatus.FAILURE, message, reason="an interrupted move left this entry: delete it")
    target.adopt([probe])
    try:
        seen = source.show([probe.id]) != [None]
    finally:
        target.delete([probe.id])
    if seen:
        raise TaskStateError("source and target are the same store: there is nothing to move")


def _release_dead_workers(source: Source) -> None:
    """Release the messages of dead workers. Raises `TaskStateError` if workers are alive."""
    lease = source.lease_ms()
    consumers = source.consumers()
    alive = {consumer.name: consumer.idle_ms for consumer in consumers if consumer.idle_ms < lease}
    if alive:
        seen = ", ".join(f"{name} ({idle / 1000:.1f} s ago)" for name, idle in sorted(alive.items()))
        raise TaskStateError(
            f"the source has workers that were last seen: {seen}; stop them. If they were killed, wait until their "
            f"lease of {lease / 1000:g} s has ended"
        )
    for consumer in consumers:
        source.release(consumer.name, ())


def _movable(source: Source) -> list[str]:
    """Return the ids of all tasks that can be moved, the oldest first. Tasks that wait in the line of a limit come
    last: tasks that are ready are ahead of them, whenever they were enqueued."""
    ids: list[str] = []
    in_lines: list[str] = []
    cursor, more = "", True
    while more:
        page, cursor = source.tasks(None, cursor, _BATCH)
        for task in page:
            if _can_move(task):
                (in_lines if task.gate else ids).append(task.id)
        more = bool(cursor)
    return [*reversed(ids), *reversed(in_lines)]


def _can_move(task: TaskInfo) -> bool:
    return task.status in ADOPTABLE and task.message is not None


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
