"""The administration of a queue: inspect its tasks and workers, and change them. `TaskQueue.admin` is an `Admin`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing

from attrs import frozen

from ..clock import wall_clock
from ..errors import BrokerError, BrokerUnavailableError, ConfigurationError, PyxqueueError, TaskStateError
from ..ids import TaskId, id_text
from ..model.findings import Finding
from ..model.locks import lock_of
from ..model.message import Message, TaskInfo, TaskStatus
from ..model.places import Place
from ..model.statistics import Statistics
from ..printable import quoted
from ..protocols import (
    Backend,
    HasAbout,
    HasLocks,
    HasQueues,
    HasStatistics,
    HasSteps,
    LimitPausing,
    Pausing,
    limit_pausing_of,
)
from .diagnosing import Diagnoses
from .editing import EditsTasks
from .explaining import Explanation, explain
from .finding import (
    EVERYTHING,
    Act,
    FailureGroup,
    FailurePage,
    ListPage,
    ListsPlaces,
    Where,
    on_those,
    place_named,
)
from .flow_view import ShowsFlows
from .limits import paused_name, paused_tasks
from .producing import Producer
from .queue_store import QueueStore
from .reasons import known, unknown
from .views import BatchResult, QueueInfo, QueuePage, TaskDetails, TaskPage, WorkerInfo
from .workers import GivesOrders, workers_in

__all__ = [
    "Admin",
    "BatchResult",
    "Explanation",
    "FailureGroup",
    "FailurePage",
    "Finding",
    "ListPage",
    "Place",
    "QueueInfo",
    "QueuePage",
    "TaskDetails",
    "TaskPage",
    "Where",
    "WorkerInfo",
]

_PAGE = 256
SCAN_LIMIT = 10_000
"""How many tasks one call examines for a name, so that it returns soon however long the queue is."""
_QUEUES = 1_000
BULK = 1_000
"""How many tasks one call changes that were not named by their ids."""
_WAITING = (TaskStatus.PENDING, TaskStatus.RETRY)
_FAILED = (TaskStatus.FAILURE,)
_HISTORY = (TaskStatus.SUCCESS, TaskStatus.CANCELLED)


@frozen(eq=False)
class Admin(ShowsFlows, Diagnoses, ListsPlaces, GivesOrders, EditsTasks):
    """The administration of one group of a queue. The command line has a command of the same name for each method.

    Ids may be text or bytes; a method that takes many ids also takes one. Each method raises `BrokerUnavailableError`
    if the store cannot be reached.
    """

    _store: QueueStore
    _producer: Producer

    # Inspecting

    def info(self, group: str | None = None) -> QueueInfo:
        """Return how many tasks wait, run, failed and ended, and facts about the store.

        `group`: another group of the queue. Raises `ConfigurationError` if the queue does not have that group.
        """
        options, backend = self._store.core.options, self._store.here().backend
        about = _about(backend)
        if group is None or group == options.group:
            return _info(options.stream_key, options.group, backend, about)
        if group not in (groups := self.groups()):
            raise ConfigurationError(_no_group(options.stream_key, group, groups))
        with self._other(options.stream_key, group) as other:
            return _info(options.stream_key, group, other, about)

    def queues(self, limit: int = 50) -> QueuePage | None:
        """Return the queues of the store, the first `limit` of them with their groups and depths; None if the store
        cannot list its queues."""
        backend = self._store.here().backend
        if self._store.eager or self._store.broker is not None or not isinstance(backend, HasQueues):
            return None
        names, complete = backend.queues(_QUEUES)
        queues = [info for name in names[:limit] for info in self._groups_of(name)]
        return QueuePage(_about(backend), queues, max(0, len(names) - limit), complete)

    def workers(self, *, tasks: int = 3) -> Sequence[WorkerInfo]:
        """Return the live workers in the order of their names, each with details about its first `tasks` tasks.

        A worker that is dead is there as long as it holds tasks, with what was known of it last.
        """
        return workers_in(self._store.here().backend, tasks)

    def statistics(self, minutes: int = 60) -> Statistics:
        """Return what workers have counted: how runs ended, how long they took, and how long tasks waited, by task.

        It has a slice for each of the last `minutes`, up to 480; of more minutes, one for each span of ten minutes, up
        to 72 hours. Workers send what they have counted every 10 seconds. Raises `ConfigurationError` if the store
        keeps no statistics.
        """
        if minutes < 1:
            raise ConfigurationError(f"minutes={minutes} must be 1 or more")
        backend = self._store.here().backend
        if not isinstance(backend, HasStatistics):
            raise ConfigurationError(f"{type(backend).__name__} does not keep statistics")
        return backend.statistics(minutes)

    def task(self, task_id: TaskId) -> TaskDetails:
        """Return the details of a task. Raises `UnknownTaskError` if the store does not know the id."""
        name = id_text(task_id)
        info = known(name, self._store.here().backend.show([name])[0])
        return TaskDetails.of(info, self._store.core.codec)

    def explain(self, task_id: TaskId) -> Explanation:
        """Return what a task waits for, in words. Raises `UnknownTaskError` if the store does not know the id."""
        name, backend = id_text(task_id), self._store.here().backend
        info = known(name, backend.show([name])[0])
        session = self._store.eager
        return explain(backend, info, wall_clock() if session is None else session.clock())

    def tasks(
        self, state: TaskStatus | str | None = None, *, name: str | None = None, after: str = "", limit: int = 50
    ) -> TaskPage:
        """Return a page of tasks, newest first, optionally only those of a `state` or of a task `name`.

        `after` is the `next` of the previous page. With `name`, one call examines at most 10,000 tasks, so a page can
        have fewer than `limit` tasks, or none, and still be followed by others. Raises `ConfigurationError` if `state`
        is not a state or `after` is not a cursor.
        """
        if limit < 1:
            raise ConfigurationError(f"limit={limit} must be 1 or more")
        wanted, backend = _state(state), self._store.here().backend
        found, cursor = (
            backend.tasks(wanted, after, limit) if name is None else _named(backend, wanted, name, limit, after)
        )
        return TaskPage(found, cursor)

    def failed(self, *, after: str = "", limit: int = 50) -> TaskPage:
        """Return a page of the failed tasks, newest first."""
        return self.tasks(TaskStatus.FAILURE, after=after, limit=limit)

    def groups(self) -> Sequence[str]:
        """Return the consumer groups of the queue. Each group gets every task."""
        return self._store.here().backend.groups()

    # Changing

    def retry(
        self,
        ids: TaskId | Iterable[TaskId] | None = None,
        *,
        all_failed: bool = False,
        ended: bool = False,
        fresh: bool = False,
        where: Where | None = None,
        limit: int = BULK,
    ) -> BatchResult:
        """Run the failed tasks with these ids, or `all_failed`, or those that fit `where`, again under their ids, from
        the first attempt.

        `ended`: also tasks that succeeded or were cancelled, if the history still has their messages. `fresh`: also
        from their first step; otherwise a failed task goes on behind the steps that it has stored. `limit`: the most
        tasks that one call with `where` retries; `BatchResult.left` says whether there may be more.
        """
        backend = self._store.here().backend
        requeue = _afresh(backend) if fresh else backend.requeue
        if [ids is not None, all_failed, where is not None].count(True) != 1:
            raise ConfigurationError("retry() takes either ids, all_failed=True, or where=: give one of them")
        if where is not None:
            return self._those(Place.FAILED, where, requeue, limit)
        if ids is None:
            return BatchResult(_on_all(backend, _FAILED, requeue))
        names, refused = _ids(ids), dict[str, PyxqueueError]()
        for name, info in zip(names, backend.show(names), strict=True):
            if info is None:
                refused[name] = unknown(name)
            elif not ended and info.status is not TaskStatus.FAILURE:
                refused[name] = TaskStateError(f"task {name} was not retried: it is {info.status.name}, not FAILURE")
        wanted = [name for name in names if name not in refused]
        done = requeue(wanted)
        return _result(backend, wanted, done, lambda info: _not_retried(backend, info), refused)

    def cancel(
        self,
        ids: TaskId | Iterable[TaskId] | None = None,
        *,
        force: bool = False,
        place: Place | str | None = None,
        where: Where | None = None,
        limit: int = BULK,
    ) -> BatchResult:
        """Cancel tasks, by their ids or those of a `place` that fit `where`, at most `limit`. A waiting task ends at
        once; a running one is interrupted by its worker, as for `AsyncResult.cancel`. `force` kills the process that
        runs it."""
        backend = self._store.here().backend
        if _by_place(ids, place, where):
            return self._those(place, where, lambda those: backend.cancel(those, force), limit)
        names = _ids(ids or ())
        return _result(backend, names, backend.cancel(names, force), _not_cancelled)

    def delete(
        self,
        ids: TaskId | Iterable[TaskId] | None = None,
        *,
        place: Place | str | None = None,
        where: Where | None = None,
        limit: int = BULK,
    ) -> BatchResult:
        """Delete tasks with their results, by their ids or those of a `place` that fit `where`, at most `limit`. A task
        in flight is not deleted; cancel it first."""
        backend = self._store.here().backend
        if _by_place(ids, place, where):
            return self._those(place, where, backend.delete, limit)
        names = _ids(ids or ())
        return _result(backend, names, backend.delete(names), _not_deleted)

    def purge(self, *, waiting: bool = False, failed: bool = False, history: bool = False) -> int:
        """Delete all tasks that wait, that failed, or that are in the history. Returns how many were deleted.

        Tasks in flight are not deleted.
        """
        if not (waiting or failed or history):
            raise ConfigurationError("purge() deletes nothing without waiting=True, failed=True or history=True")
        chosen = ((waiting, _WAITING), (failed, _FAILED), (history, _HISTORY))
        states = [state for wanted, those in chosen if wanted for state in those]
        backend = self._store.here().backend
        some_depend = waiting and backend.depth().dependent > 0
        deleted = _on_all(backend, states, backend.delete)
        if some_depend:  # what waited for deleted tasks became ready meanwhile, and is listed before these
            deleted += _on_all(backend, _WAITING, backend.delete)
        return deleted

    def remove_group(self, group: str) -> None:
        """Delete a group with all its tasks and results. Stop its workers first, or they create it again.

        Raises `ConfigurationError` if the queue does not have that group.
        """
        self._store.here().backend.remove_group(group)

    def pause(self, *, limit: str | None = None, key: object = None, task: str | None = None) -> bool:
        """Pause the group: no worker starts a task of it, on any machine, until `resume`. Returns False if it was
        paused already.

        `limit`: pause only the limit of this name, its number and its rate; with `key`, only for this key of it, the
        value by which ``by=`` tells tasks apart. Tasks that are not ready yet wait for it, and other tasks go on. The
        number and the rate stay as they are, and count again after `resume`.

        `task`: pause only the tasks of this name, such as ``shop.render``. Workers learn of it within 5 seconds, and
        then start none of them; other tasks go on.

        What runs goes on and is settled, tasks can be enqueued, and delayed ones become due. The pause is stored, so it
        survives the end of every process. A worker that has claimed tasks just before may still start these. Raises
        `ConfigurationError` if the store cannot pause a queue, a limit, or a task name.
        """
        name = paused_name(limit, key, task)
        return self._pausing().pause() if name is None else self._limit_pausing().pause(name)

    def resume(self, *, limit: str | None = None, key: object = None, task: str | None = None) -> bool:
        """End a pause: workers go on at once, in the order that the tasks would have had without it. Returns False if
        the group was not paused. `limit` and `key`: end the pause of this limit, or of this key of it. `task`: end the
        pause of this task name."""
        name = paused_name(limit, key, task)
        return self._pausing().resume() if name is None else self._limit_pausing().resume(name)

    # Stores

    def _those(self, place: Place | str | None, where: Where | None, act: Act, limit: int) -> BatchResult:
        """Act on the tasks of a place that fit."""
        if limit < 1:
            raise ConfigurationError(f"limit={limit} must be 1 or more")
        backend, there = self._store.here().backend, place_named(place or "")
        done, left = on_those(backend, there, where or EVERYTHING, act, now=self._now(), limit=limit)
        return BatchResult(done, left=left)

    def _pausing(self) -> Pausing:
        backend = self._store.here().backend
        if not isinstance(backend, Pausing):
            raise ConfigurationError(f"{type(backend).__name__} cannot pause a queue: stop the workers instead")
        return backend

    def _limit_pausing(self) -> LimitPausing:
        backend = self._store.here().backend
        limits = limit_pausing_of(backend)
        if limits is None:
            raise ConfigurationError(
                f"{type(backend).__name__} cannot pause a limit or a task name: set the number of the limit to 0, or "
                f"pause the queue"
            )
        return limits

    def _other(self, queue: str, group: str) -> AbstractContextManager[Backend]:
        """Open another queue or group of the same store; the context manager closes it."""
        return closing(self._store.open_other(queue, group))

    def _groups_of(self, queue: str) -> Iterator[QueueInfo]:
        """Yield the groups of a queue with their depths, or one group "?" if this program may not read the queue."""
        try:
            with self._other(queue, self._store.core.options.group) as any_group:
                groups = any_group.groups()
            for group in groups:
                with self._other(queue, group) as other:
                    yield _info(queue, group, other, {})
        except BrokerUnavailableError:
            raise
        except BrokerError:
            yield QueueInfo(queue, "?", None)


def _by_place(ids: object, place: object, where: object) -> bool:
    """Return whether tasks are given by their place. Raises `ConfigurationError` if it is not clear which."""
    if (ids is None) is (place is None) or (place is None and where is not None):
        raise ConfigurationError("give either ids, or place= with where= if not all of them are meant")
    return ids is None


def _afresh(backend: Backend) -> Callable[[Sequence[str]], Sequence[bool]]:
    """Return what requeues tasks without their steps. Raises `ConfigurationError` if the store keeps none."""
    if not isinstance(backend, HasSteps):
        raise ConfigurationError(f"{type(backend).__name__} does not keep the steps of tasks: leave out fresh=")

    def requeue(ids: Sequence[str]) -> Sequence[bool]:
        backend.forget_steps(ids)
        return backend.requeue(ids)

    return requeue


def _about(backend: Backend) -> Mapping[str, str]:
    """Return the facts that a store reports about itself, by name; none if it does not report any."""
    return dict(backend.about()) if isinstance(backend, HasAbout) else {}


def _info(queue: str, group: str, backend: Backend, about: Mapping[str, str]) -> QueueInfo:
    paused = isinstance(backend, Pausing) and backend.is_paused()
    return QueueInfo(queue, group, backend.depth(), about, paused, paused_tasks(backend))


def _ids(given: TaskId | Iterable[TaskId]) -> list[str]:
    """Return ids as text, without duplicates."""
    listed = [given] if isinstance(given, str | bytes) else given
    return list(dict.fromkeys(id_text(one) for one in listed))


def _state(given: TaskStatus | str | None) -> TaskStatus | None:
    if given is None or isinstance(given, TaskStatus):
        return given
    if isinstance(given, str) and given.upper() in TaskStatus.__members__:
        return TaskStatus[given.upper()]
    raise ConfigurationError(f"{quoted(given)} is not a state; the states are {', '.join(TaskStatus.__members__)}")


def _no_group(queue: str, group: str, groups: Iterable[str]) -> str:
    return f"the queue {quoted(queue)} does not have a group {quoted(group)}; its groups: {', '.join(groups)}"


def _named(
    backend: Backend, state: TaskStatus | None, name: str, limit: int, cursor: str
) -> tuple[Sequence[TaskInfo], str]:
    """Return at most `limit` tasks of the name, and the cursor after them."""
    found: list[TaskInfo] = []
    for _ in range(-(-SCAN_LIMIT // _PAGE)):
        page, following = backend.tasks(state, cursor, _PAGE)
        places = [place for place, info in enumerate(page, 1) if _is_named(info, name)]
        if len(places) > limit - len(found):  # too many: end the page with the last one wanted
            page, following = backend.tasks(state, cursor, places[limit - len(found) - 1])
        found += [info for info in page if _is_named(info, name)]
        cursor = following
        if not cursor or len(found) >= limit:
            break
    return found, cursor


def _is_named(info: TaskInfo, name: str) -> bool:
    return isinstance(info.message, Message) and info.message.name == name


def _on_all(backend: Backend, states: Sequence[TaskStatus], act: Act) -> int:
    """Call `act` with all tasks in these states. Returns how many tasks were changed."""
    return sum(sum(act(page)) for state in states for page in _pages(backend, state))


def _pages(backend: Backend, state: TaskStatus) -> Iterator[list[str]]:
    cursor, more = "", True
    while more:
        found, cursor = backend.tasks(state, cursor, _PAGE)
        yield [info.id for info in found]
        more = bool(cursor)


def _result(
    backend: Backend,
    ids: Sequence[str],
    done: Sequence[bool],
    why: Callable[[TaskInfo], str],
    refused: Mapping[str, PyxqueueError] | None = None,
) -> BatchResult:
    """Return how many tasks were `done`, and `why` the others were not; those `refused` were not tried."""
    left = [task_id for task_id, is_done in zip(ids, done, strict=True) if not is_done]
    reasons: dict[str, PyxqueueError] = {
        task_id: unknown(task_id) if info is None else TaskStateError(f"task {task_id} {why(info)}")
        for task_id, info in zip(left, backend.show(left), strict=True)
    }
    return BatchResult(sum(done), {**(refused or {}), **reasons})


def _not_retried(backend: Backend, info: TaskInfo) -> str:
    if not info.status.ended:
        return f"was not retried: it is {info.status.name}"
    lock = lock_of(info.message)
    if lock is not None and isinstance(backend, HasLocks) and (holder := backend.lock_holders([lock.name])[0]):
        return f"was not retried: task {holder} has its lock; wait until that has ended, or cancel it"
    return "was not retried: its message is no longer in the history"


def _not_cancelled(info: TaskInfo) -> str:
    return f"was not cancelled: it has ended with {info.status.name}"


def _not_deleted(info: TaskInfo) -> str:
    return f"was not deleted: it is {info.status.name}; cancel it first"
