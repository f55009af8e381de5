"""What `info` and `top` show of one group: its workers, what runs longest, what failed, and what is wrong."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from ..client.admin import FailureGroup, QueueInfo, WorkerInfo
from ..client.queue import TaskQueue
from ..errors import ConfigurationError
from ..model.message import Progress
from ..printable import counted
from .output import age, bar, cut, cut_front, table
from .target import Target

_FAILURES = 256
"""How many failed tasks are looked at: one page."""
_KINDS = 3
_HOST = 24


@frozen
class Running:
    """A task in flight."""

    id: str
    task: str
    on: str
    """The worker, as ``host:pid``."""
    for_ms: int | None
    """For how long it has run; None if that is not known, or it has not begun."""
    progress: Progress | None
    begun: bool = True
    """Whether the worker runs it; one that may have killed a process waits there until it can run alone."""


@frozen
class Look:
    """One group at one moment."""

    info: QueueInfo
    workers: Sequence[WorkerInfo]
    running: Sequence[Running]
    """The tasks in flight that have run longest, as far as that is known."""
    kinds: Sequence[FailureGroup]
    """The newest failed tasks by kind."""
    lease_ms: int
    module: str
    """How commands name the module of the queue; empty if they name the queue itself."""
    address: str
    """The words that make a command act on this group, with a space before them."""

    @property
    def in_flight(self) -> int:
        return sum(len(worker.in_flight) for worker in self.workers)

    @property
    def silent(self) -> Sequence[WorkerInfo]:
        """Workers that hold tasks, and whose supervisor does not extend their leases."""
        return [worker for worker in self.workers if worker.in_flight and worker.is_silent(self.lease_ms)]

    @property
    def all_busy(self) -> bool:
        return bool(self.workers) and all(_is_busy(worker) for worker in self.workers)


def look(target: Target, queue: TaskQueue, most: int, *, one_of_many: bool = False) -> Look:
    """Look at a group, at the workers, and at the `most` tasks that have run longest. `one_of_many`: commands need to
    name the group."""
    info = queue.admin.info()
    workers = queue.admin.workers(tasks=0)
    kinds: Sequence[FailureGroup] = ()
    if info.depth is not None and info.depth.failed:
        try:
            kinds = queue.admin.failures(_FAILURES).groups
        except ConfigurationError:  # a backend of the application that does not list places
            kinds = ()
    lease = queue.stores.backend.lease_ms()
    app = target.find_app()
    to = address(target, queue, one_of_many=one_of_many)
    return Look(info, workers, _running(queue, workers, most), kinds, lease, str(app or ""), to)


def address(target: Target, queue: TaskQueue, *, one_of_many: bool = False) -> str:
    """Return the words that make a command act on this group, with a space before them: the module, or the options as
    far as they are not in the environment."""
    if (app := target.find_app()) is not None:
        return f" {shlex.quote(str(app))}"
    words = ["--queue", queue.stream_key] if "queue" in target.given else []
    words += ["--group", queue.consumer_group] if one_of_many or "group" in target.given else []
    return "".join(f" {shlex.quote(word)}" for word in words)


def _running(queue: TaskQueue, workers: Sequence[WorkerInfo], most: int) -> list[Running]:
    began = dict[str, int]()
    holders = dict[str, WorkerInfo]()
    for worker in workers:
        holders.update(dict.fromkeys(worker.in_flight, worker))
        if worker.facts is not None:
            began.update({run.id: run.since_ms for run in worker.facts.runs if run.id in holders})
    longest = sorted(holders, key=lambda task_id: began.get(task_id, 1 << 62))[:most]
    now = round(time.time() * 1000)
    found = list[Running]()
    for task_id, info in zip(longest, queue.stores.backend.show(longest), strict=True):
        if info is not None and info.worker:
            since = holders[task_id].began(info)
            name = info.readable.name if info.readable else "?"
            for_ms = max(0, now - since) if since else None
            found.append(Running(task_id, name, where(holders[task_id]), for_ms, info.progress, since != 0))
    return sorted(found, key=lambda one: -(one.for_ms or 0))


def where(worker: WorkerInfo) -> str:
    """Return a worker as ``host:pid``, or by its name if these are not known."""
    if not worker.host or worker.pid is None:
        return cut(worker.name, _HOST)
    return f"{cut_front(worker.host, _HOST)}:{worker.pid}"


def running_table(running: Sequence[Running]) -> list[str]:
    """Return a table of tasks that run."""
    rows = [[one.on, cut_front(one.task, 30), _for(one), bar(one.progress)] for one in running]
    return table(["running on", "task", "for", "progress"], rows, {"running on", "task", "progress"})


def _for(one: Running) -> str:
    if not one.begun:
        return "not begun"
    return "?" if one.for_ms is None else age(one.for_ms)


def _is_busy(worker: WorkerInfo) -> bool:
    slots = worker.facts.slots if worker.facts is not None else 1
    return len(worker.in_flight) >= slots


def workers_line(seen: Look) -> str:
    """Return how many workers there are, where, and how many of them are busy."""
    told = [worker for worker in seen.workers if worker.facts is not None]  # of others, the name is not known
    hosts = {worker.host for worker in told or seen.workers if worker.host}
    on = f" on {counted(len(hosts), 'host')}" if hosts else ""
    states = Counter(
        state
        for worker in seen.workers
        for state in (_state(worker, seen.lease_ms), *(("draining",) if _is_draining(worker) else ()))
    )
    parts = ", ".join(f"{states[state]:,} {state}" for state in ("busy", "idle", "silent", "draining") if states[state])
    return f"{counted(len(seen.workers), 'worker')}{on}: {parts}"


def _state(worker: WorkerInfo, lease_ms: int) -> str:
    if not worker.in_flight:
        return "idle"
    return "silent" if worker.is_silent(lease_ms) else "busy"


def _is_draining(worker: WorkerInfo) -> bool:
    return worker.facts is not None and worker.facts.draining


def wrong(seen: Look) -> Iterator[str]:
    """Yield what is wrong with a group, in plain words, each with what to do about it."""
    info, depth = seen.info, seen.info.depth
    if not seen.workers:
        yield f"no worker is running → pyxqueue worker {seen.module or 'MODULE'}"
    elif all(_is_draining(worker) for worker in seen.workers):
        yield f"every worker is draining, so no task starts → pyxqueue worker {seen.module or 'MODULE'}"
    elif depth is not None and depth.ready and seen.all_busy and not info.paused:
        yield f"{depth.ready:,} wait, every worker is busy, the oldest waits {age(depth.oldest_ms)}"
    for worker in seen.silent[:_KINDS]:
        left = seen.lease_ms - worker.idle_ms
        end = f"its lease ends in {age(left)}" if left > 0 else "its lease has ended, others take over"
        tasks = counted(len(worker.in_flight), "task")
        yield f"{where(worker)} is silent for {age(worker.idle_ms)} and holds {tasks}: {end}"
    if len(seen.silent) > _KINDS:
        yield f"{len(seen.silent) - _KINDS:,} more workers are silent and hold tasks"
    if depth is not None and depth.failed:
        yield f"{depth.failed:,} failed{_by_error(seen)} → pyxqueue failed{seen.address} --by kind"


def _by_error(seen: Look) -> str:
    depth = seen.info.depth
    errors = Counter[str]()
    for kind in seen.kinds:
        errors[kind.error] += kind.count
    if not errors or depth is None:
        return ""
    shown = ", ".join(f"{cut_front(error, 20)} {number:,}" for error, number in errors.most_common(2))
    more = ", …" if len(errors) > 2 or errors.total() < depth.failed else ""
    return f": {shown}{more}"


def paused_lines(groups: Mapping[str, QueueInfo]) -> Iterator[str]:
    """Yield what is paused in each group, by how the group is called."""
    for name, group in groups.items():
        if group.paused:
            yield f"{name} is paused: no worker starts a task of it until `pyxqueue resume`"
        for task in group.paused_tasks:
            yield f"the task {task} in {name} is paused: no worker starts it until `pyxqueue resume --task {task}`"
