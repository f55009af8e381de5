"""The schedules of a queue: make, list, pause, resume, trigger and delete them. `TaskQueue.schedules` has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from attrs import field, frozen

from ..clock import Seconds
from ..errors import ConfigurationError, UnknownScheduleError
from ..ids import new_id
from ..model import schedules as rules
from ..model.schedules import Schedule
from ..options import CallOptions
from ..options.schedules import Missed, MissedOption, plan_of
from ..printable import quoted
from ..protocols import ScheduleChange, ScheduleStore, confirm
from ..registry import Registry
from ..ticking import Ticker, store_of_schedules, triggered_call, unreadable
from .producing import Producer
from .queue_store import QueueStore
from .result import AsyncResult
from .task import Task, spec_of

_NOT_FOR_SCHEDULES = ("delay", "eta", "task_id", "durability")


@frozen(eq=False)
class Schedules:
    """The schedules of a queue. The command ``pyxqueue schedule`` does the same.

    Iterating gives a `ScheduleHandle` for each, in the order of their ids; ``queue.schedules["id"]`` gives one of them.
    """

    _store: QueueStore
    _producer: Producer

    def upsert(
        self,
        schedule_id: str,
        task: Task[..., Any],
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        cron: str | None = None,
        every: Seconds | None = None,
        timezone: str | None = None,
        missed: MissedOption | None = None,
        overlap: Literal["skip", "allow", "queue"] | None = None,
    ) -> ScheduleHandle:
        """Make a schedule that calls a task with these arguments, or change the one with this id.

        The options are those of `TaskOptions`; one of `cron` and `every` is needed. A new schedule does not run for
        times before. A changed one keeps its counters, and stays paused if it was; one that is equal stays as it is.
        """
        plan = plan_of(cron, every, timezone, missed, overlap)
        if plan is None:
            raise ConfigurationError(f"the schedule {quoted(schedule_id)} needs cron= or every=")
        name = rules.valid_schedule_id(schedule_id)
        if not isinstance(task, Task):
            raise ConfigurationError(f"{quoted(task)} is not a task: give a function decorated with @queue.task")
        self._producer.check(spec_of(task))
        call = self._producer.template(spec_of(task), (args, kwargs or {}), _options(task), name)
        ticker = self._ticker()
        now = ticker.begin()
        new = Schedule(name, plan.timing, call, plan.missed, plan.overlap, "runtime", declared_ms=now)
        made = ticker.alter(name, lambda old: rules.upserted(old, new, now))
        assert made is not None
        confirm(self._store.here().backend, [name])
        return self._handle(made)

    def __getitem__(self, schedule_id: str) -> ScheduleHandle:
        """Return a schedule as it is now. Raises `UnknownScheduleError` if there is none with this id."""
        found = self._keeper().get([schedule_id])[0] if _is_id(schedule_id) else None
        if found is None:
            raise _unknown(schedule_id)
        return self._handle(found)

    def __contains__(self, schedule_id: object) -> bool:
        return _is_id(schedule_id) and self._keeper().get([str(schedule_id)])[0] is not None

    def __iter__(self) -> Iterator[ScheduleHandle]:
        keeper = self._keeper()
        found = keeper.get(keeper.ids())
        return iter([self._handle(one) for one in found if one is not None])

    def __len__(self) -> int:
        return len(self._keeper().ids())

    def _keeper(self) -> ScheduleStore:
        return store_of_schedules(self._store.here().backend)

    def _ticker(self) -> Ticker:
        return Ticker(self._keeper(), self._store.core.codec, None)

    def _handle(self, one: Schedule) -> ScheduleHandle:
        return _handle_of(one, self)

    def pause(self, schedule_id: str) -> None:
        self._alter(schedule_id, rules.paused)

    def resume(self, schedule_id: str) -> None:
        self._alter(schedule_id, rules.resumed)

    def delete(self, schedule_id: str) -> None:
        keeper = self._keeper()
        while (old := keeper.get([schedule_id])[0]) is not None:
            keeper.change(ScheduleChange(schedule_id, old.mark, None))
        if schedule_id in keeper.ids() and keeper.get([schedule_id])[0] is None:  # else another program has made it
            raise unreadable(schedule_id)
        confirm(self._store.here().backend, [schedule_id])

    def trigger(self, schedule_id: str) -> AsyncResult[Any]:
        keeper = self._keeper()
        (one,) = keeper.get([schedule_id])
        if one is None:
            raise _unknown(schedule_id)
        task_id = new_id()
        headers = self._producer.headers(one.call.name, CallOptions(headers=one.call.headers), task_id)
        message = triggered_call(self._store.core.codec, one, task_id, keeper.due(0).now, headers)
        self._store.here().backend.enqueue([message])
        return self._producer.handle(message.id)

    def _alter(self, schedule_id: str, change: Callable[[Schedule, int], Schedule]) -> None:
        ticker = self._ticker()
        now = ticker.begin()

        def altered(old: Schedule | None) -> Schedule | None:
            if old is None:
                raise _unknown(schedule_id)
            new = change(old, now)
            return None if new == old else new

        ticker.alter(schedule_id, altered)
        confirm(self._store.here().backend, [schedule_id])


@frozen
class ScheduleHandle:
    """A schedule as it was when it was read. Its methods change the schedule, not this value."""

    id: str
    task: str
    """The name of the task that it calls."""
    when: str
    """The cron expression and its time zone, or the interval, as text."""
    cron: str | None
    timezone: str | None
    every: timedelta | None
    missed_policy: Missed
    overlap: str
    origin: str
    """``"code"`` if the code of a worker declares it, ``"runtime"`` if `upsert` made it."""
    state: str
    """``"active"``, ``"paused"``, or ``"orphaned"`` if no worker has declared it for ten minutes, paused or not."""
    last: datetime | None
    """The last tick that was enqueued."""
    next: datetime | None
    """When it ticks next; None if it is paused or orphaned."""
    last_task: str
    """The id of the task of the last tick."""
    runs: int
    """How many ticks were enqueued."""
    skipped: int
    """How many ticks were skipped because an earlier one had not ended."""
    missed: int
    """How many ticks were not enqueued because no supervisor ran in time."""
    errors: int
    """How often a tick could not be enqueued."""
    error: str
    """Why the last one could not be; empty if it could."""
    _schedules: Schedules = field(alias="schedules", repr=False, eq=False)

    def pause(self) -> None:
        """Let it tick no more until `resume`, whatever is deployed meanwhile."""
        self._schedules.pause(self.id)

    def resume(self) -> None:
        """Let it tick again. The ticks of the pause are not made up for."""
        self._schedules.resume(self.id)

    def trigger(self) -> AsyncResult[Any]:
        """Enqueue its task now, also while it is paused, and return the handle. Its ticks stay as they are."""
        return self._schedules.trigger(self.id)

    def delete(self) -> None:
        """Delete the schedule. One that the code declares comes back within a minute while workers with that code run:
        pause it instead, or remove it from the code."""
        self._schedules.delete(self.id)


def _handle_of(one: Schedule, schedules: Schedules) -> ScheduleHandle:
    timing, policy = one.timing, one.missed
    rule = Missed(policy.policy)
    if policy.policy == "skip":
        rule = Missed("skip", grace=policy.grace_ms / 1000 or None)
    elif policy.policy == "all":
        rule = Missed("all", limit=policy.limit, within=policy.within_ms / 1000)
    waits = not (one.paused or one.orphaned)
    return ScheduleHandle(
        id=one.id,
        task=one.call.name,
        when=str(timing),
        cron=timing.cron or None,
        timezone=None if timing.every_ms else timing.timezone,
        every=timedelta(milliseconds=timing.every_ms) if timing.every_ms else None,
        missed_policy=rule,
        overlap=one.overlap,
        origin=one.origin,
        state="active" if waits else "orphaned" if one.orphaned else "paused",
        last=_moment(one.last_ms),
        next=_moment(one.next_ms) if waits else None,
        last_task=one.task_id,
        runs=one.runs,
        skipped=one.skipped,
        missed=one.missed_ticks,
        errors=one.errors,
        error=one.error,
        schedules=schedules,
    )


def declarations(registry: Registry, producer: Producer) -> list[Schedule]:
    """Return the schedules that the code declares, for a supervisor to declare them in the store."""
    declared = []
    for task in registry:
        if (plan := task.options.plan) is not None:
            name = rules.schedule_id_of(task.name)
            call = producer.template(task, ((), {}), CallOptions(), name)
            declared.append(Schedule(name, plan.timing, call, plan.missed, plan.overlap, "code"))
    return declared


def _options(task: Task[..., Any]) -> CallOptions:
    options = task.call_options
    for name in _NOT_FOR_SCHEDULES:
        if getattr(options, name) is not None:
            raise ConfigurationError(f"{name}= belongs to a single call: a schedule has times and ids of its own")
    return options


def _is_id(schedule_id: object) -> bool:
    return isinstance(schedule_id, str) and rules.SCHEDULE_ID.fullmatch(schedule_id) is not None


def _unknown(schedule_id: object) -> UnknownScheduleError:
    return UnknownScheduleError(
        f"there is no schedule {quoted(schedule_id)}: one that the code declares is there from the first start of a "
        "worker with that code on"
    )


def _moment(ms: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC) if ms else None
    except (ValueError, OverflowError, OSError):
        return None
