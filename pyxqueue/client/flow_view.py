"""A flow as people see it: its tasks and what they wait for, found from any of its tasks."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import count, islice

from attrs import frozen

from ..errors import ConfigurationError
from ..ids import id_text
from ..model.flows import edges_of, expand, group_prefix
from ..model.flows import many as as_many
from ..model.message import TaskInfo, TaskStatus
from ..printable import quoted
from ..protocols import Backend, HasFlows
from .queue_store import QueueStore
from .reasons import known

_PAGE = 256
MOST = 10_000
"""How many tasks of a flow are shown, and how many of each group."""


@frozen
class FlowView:
    """The tasks of a flow that the store still has."""

    id: str
    tasks: Mapping[str, TaskInfo]
    """By id."""
    before: Mapping[str, Sequence[str]]
    """What each task waits for, by its id: ids of tasks, or ``ID.*N`` for many whose ids follow each other."""
    many: Mapping[str, Mapping[TaskStatus, int]]
    """For each text that stands for many tasks, how many of the first 10,000 are in each state."""
    complete: bool
    """False if there are more tasks than were looked at."""

    @property
    def ends(self) -> Sequence[str]:
        """The tasks that no other waits for, and what stands for many of these."""
        waited_for = {one for after in self.before.values() for one in after}
        return [one for one in {**self.tasks, **self.before} if one not in waited_for]

    @property
    def in_order(self) -> Iterator[str]:
        """The ids of all tasks, each after those that it waits for."""
        try:
            return expand(TopologicalSorter(self.before).static_order())
        except CycleError:
            raise ConfigurationError(f"tasks of the flow {quoted(self.id)} wait for each other in a circle") from None

    @property
    def states(self) -> Counter[TaskStatus]:
        """How many tasks are in each state, of those that were looked at."""
        among = {one for many in self.many for one in expand([many])}
        found = Counter(info.status for info in self.tasks.values() if info.id not in among)
        for counts in self.many.values():
            found.update(counts)
        return found


class ShowsFlows:
    """The part of `Admin` that shows and retries flows."""

    _store: QueueStore

    def flow(self, task_id: str | bytes) -> FlowView:
        """Return the flow with this id, or the one of which the task with this id is part: its tasks and what they wait
        for. Raises `UnknownTaskError`."""
        return flow_view(self._store.here().backend, id_text(task_id), MOST)

    def retry_flow(self, task_id: str | bytes) -> int:
        """Retry the failed tasks of the flow with this id, or of that of which the task with this id is part, as
        `FlowResult.retry` does. Returns their number. Raises `UnknownTaskError`."""
        backend = self._store.here().backend
        found = flow_view(backend, id_text(task_id), sys.maxsize)
        return retry_failed(backend, lambda: found.in_order)


def retry_failed(backend: Backend, ids: Callable[[], Iterable[str]]) -> int:
    """Let the failed tasks of a flow join it again, and return their number.

    `ids`: returns the ids of its tasks, each after those that it waits for.
    """
    if not isinstance(backend, HasFlows):
        return 0
    count = 0
    for only_doomed in (False, True):  # one that was about to fail because of another is found by the second look
        for page in _pages(iter(ids())):
            failed = [one for one in backend.show(page) if one is not None and one.status is TaskStatus.FAILURE]
            wanted = [one.id for one in failed if not only_doomed or (one.readable and one.readable.doomed)]
            count += sum(backend.rejoin(wanted)) if wanted else 0
    return count


def flow_view(backend: Backend, given: str, most: int) -> FlowView:
    """Return the flow with this id, or that of the task with this id, with at most so many of its tasks. Raises
    `UnknownTaskError`."""
    found = [info for info in backend.show(_first_ids(given)) if info is not None]
    found.sort(key=lambda info: info.readable is None or info.readable.flow != given)  # a task may have the flow's id
    start = known(given, found[0] if found else None)
    flow = start.readable.flow if start.readable else ""
    tasks: dict[str, TaskInfo] = {}
    before: dict[str, Sequence[str]] = {}
    many: dict[str, Counter[TaskStatus]] = {}
    seen, waiting = {start.id}, [start.id]
    for page in _pages(_numbered(flow, most + _PAGE)) if flow else ():
        if not any(found := [info for info in backend.show(page) if info is not None]):
            break
        waiting += [info.id for info in found if info.id not in seen]
        seen.update(waiting)
    if flow:
        many.update(_groups(backend, flow, most))
        before.update(dict.fromkeys(many, ()))
    complete = all(states.total() <= most for states in many.values())
    while waiting and len(tasks) < most:
        page, waiting = waiting[:_PAGE], waiting[_PAGE:]
        for info in backend.show(page):
            message = info.readable if info is not None else None
            if info is None or message is None or message.flow != flow:
                continue
            tasks[info.id], before[info.id] = info, message.after
            for one in (*message.after, *(edge.successor for edge in edges_of(message))):
                if ".*" in one:
                    many.setdefault(one, _states(backend, one))
                elif one not in seen:
                    seen.add(one)
                    waiting.append(one)
    return FlowView(flow, tasks or {start.id: start}, before, many, complete and not waiting)


def _first_ids(given: str) -> list[str]:
    """Return ids of which the store knows one if a task has this id, or a flow whose tasks do not all have ids of their
    own."""
    return [given, *_numbered(given, 32), *_numbered(group_prefix(given, 0), 32)]


def _groups(backend: Backend, flow: str, most: int) -> dict[str, Counter[TaskStatus]]:
    """The groups of a flow that nothing waits for, as `FlowView.many` has them."""
    found: dict[str, Counter[TaskStatus]] = {}
    for number in count():
        prefix, last, states = group_prefix(flow, number), 0, Counter[TaskStatus]()
        for page in _pages(_numbered(prefix, most + 1)):
            infos = [info for info in backend.show(page) if info is not None]
            if not infos:
                break
            states.update(info.status for info in infos)
            last = int(infos[-1].id.rpartition(".")[2])
        if not states:
            break
        found[as_many(prefix, last + 1)] = states
    return found


def _numbered(prefix: str, most: int) -> Iterator[str]:
    return (f"{prefix}.{number}" for number in range(most))


def _pages(ids: Iterator[str]) -> Iterator[Sequence[str]]:
    while page := list(islice(ids, _PAGE)):
        yield page


def _states(backend: Backend, many: str) -> Counter[TaskStatus]:
    counts: Counter[TaskStatus] = Counter()
    for page in _pages(islice(expand([many]), MOST)):
        counts.update(info.status for info in backend.show(page) if info is not None)
    return counts
