"""What a task waits for, in words. Each reason is one function in `_REASONS`; they are shown in this order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile

from msgspec import Struct

from ..model.flows import doom_text, number_of
from ..model.limits import limit_of, paused_names, shown_gate, task_of
from ..model.message import TaskInfo, TaskStatus
from ..model.priorities import class_of
from ..model.rates import PREFIX, is_rate
from ..printable import counted, quoted
from ..protocols import Backend, LimitPausing, LimitStore, Pausing, RateStore, fair_lines_of, limits_of
from .limits import paused_tasks
from .reasons import PAUSED, name_paused, reason

_PAGE = 256
_GATES = 10_000
"""How many gates are looked at for that of one task."""
_SCAN_LIMIT = 10_000
"""How many tasks are looked at for the place of one in its line."""
_END_OF_TIME = 253_402_300_800_000
"""The first ms of the year 10,000, which `datetime` does not have."""


class Explanation(Struct, frozen=True):
    """What one task waits for, or why it does not wait."""

    id: str
    state: TaskStatus
    reasons: Sequence[str]
    """Each is a clause in plain words, the most important first."""

    def __str__(self) -> str:
        return "; ".join(self.reasons)


class Situation(Struct, frozen=True):
    """What a reason can use."""

    backend: Backend
    info: TaskInfo
    """A task that waits."""
    now: int
    """The time in ms, by the clock of this machine; in eager mode by that of the session."""
    scan: int = _SCAN_LIMIT
    """How many tasks are looked at for the place in a line; 0 for none; the place is then left out."""

    @property
    def due(self) -> int:
        """When its delay ends; 0 if it has none."""
        due = self.info.readable.due_ms if self.info.readable else 0
        return due if due > self.now else 0


def explain(backend: Backend, info: TaskInfo, now: int, scan: int = _SCAN_LIMIT) -> Explanation:
    """Return what the task waits for. `scan`: how many tasks are looked at for its place in a line."""
    if info.status is TaskStatus.STARTED:
        told = [f"it runs or is about to run on {info.worker}"]
        if info.readable is not None and info.readable.redelivered:
            told.append(
                "its process died, or its lease ended: it runs alone in its process, after the other tasks there"
            )
        return Explanation(info.id, info.status, told)
    if info.status.ended:
        return Explanation(info.id, info.status, [f"it has ended with {info.status.name}"])
    situation = Situation(backend, info, now, scan)
    return Explanation(info.id, info.status, [text for told in _REASONS if (text := told(situation))])


def _delayed(one: Situation) -> str:
    if not one.due or one.info.event:
        return ""
    what = "sleeps" if one.info.suspended else "delayed"
    return f"{what} until {moment(one.due)}, for {_seconds(one.due - one.now)} more"


def _awaiting(one: Situation) -> str:
    if not one.info.event:
        return ""
    at_most = f", until {moment(one.due)} at most" if one.due else ""
    return f"waits for the event {quoted(one.info.event)}{at_most}: queue.send_event sends it"


def _paused(one: Situation) -> str:
    paused = isinstance(one.backend, Pausing) and one.backend.is_paused()
    return PAUSED if paused else ""


def _named(one: Situation) -> str:
    name = one.info.readable.name if one.info.readable else ""
    return name_paused(name) if name in paused_tasks(one.backend) else ""


def _deferred(one: Situation) -> str:
    return reason(one.info)


def _limited(one: Situation) -> str:
    if not one.info.gate or task_of(one.info.gate):
        return ""
    limits, name = limits_of(one.backend), shown_gate(one.info.gate.removeprefix(PREFIX))
    paused = limits.paused() if isinstance(limits, LimitPausing) else ()
    if found := [text for text in paused_names(one.info.gate) if text in paused]:
        limit, _, key = found[0].partition("/")
        by_name = f"limit={quoted(limit)}" + (f", key={quoted(key)}" if key else "")
        options = f"--limit {limit}" + (f" --key {key}" if key else "")
        return f"the limit {found[0]} is paused: admin.resume({by_name}) or `pyxqueue resume {options}` lets it go on"
    if is_rate(one.info.gate):
        return f"the rate {name} lets no more tasks start now{_pace(one, limits)}"
    gates = [gate for gate in limits.gates(_GATES) if gate.name == one.info.gate] if limits else []
    if not gates:
        return f"the limit {name} has no room"
    if gates[0].limit == 0:
        return f"the limit {name} is 0: nothing starts until `pyxqueue limits --set` raises it"
    used = f"{gates[0].used} of {gates[0].limit} tokens are taken"
    if not one.scan:
        return f"the limit {name} has no room: {used}, {gates[0].waiting:,} wait in its line"
    before = max(0, gates[0].waiting - 1 - _newer(one, lambda other: other.gate == one.info.gate))
    return f"the limit {name} has no room: {used}, about {before:,} before it in its line"


def _pace(one: Situation, limits: LimitStore | None) -> str:
    key = one.info.gate.removeprefix(PREFIX)
    known = {rate.name: rate.pace for rate in limits.rates()} if isinstance(limits, RateStore) else {}
    pace = known.get(key, known.get(limit_of(key)))
    return f": {pace}" if pace else ""


def _dependent(one: Situation) -> str:
    if not one.info.waits_for:
        return ""
    if one.info.suspended:
        return f"it waits for {counted(one.info.waits_for, 'task')} of its own"
    total = number_of(one.info.readable.after) if one.info.readable else one.info.waits_for
    return f"it waits for {one.info.waits_for:,} of {counted(total, 'task')} before it in its flow"


def _doomed(one: Situation) -> str:
    doomed = one.info.readable.doomed if one.info.readable else ""
    return f"it fails without being run: {doom_text(doomed)}" if doomed else ""


def _in_line(one: Situation) -> str:
    if one.due or one.info.gate or one.info.waits_for or one.info.suspended:
        return ""
    if one.info.line:
        return _in_fair_line(one)
    if not one.scan:
        return f"ready, one of {one.backend.depth().ready:,} in its group"
    return f"ready, about {_before(one):,} before it"


def _in_fair_line(one: Situation) -> str:
    tenant = one.info.readable.tenant if one.info.readable else ""
    lines = fair_lines_of(one.backend)
    waiting = sum(found.waiting for found in lines.tenants(_GATES) if found.tenant == tenant) if lines else 0
    return (
        f"ready, in the fair line with {one.info.line - 1:,} before it; the tenant {tenant or '(none)'} has "
        f"{counted(waiting, 'task')} there"
    )


def _unserved(one: Situation) -> str:
    lease = one.backend.lease_ms()
    alive = any(consumer.idle_ms <= 2 * lease or consumer.in_flight for consumer in one.backend.consumers())
    return "" if alive else "no worker is running"


def _expiring(one: Situation) -> str:
    expires = one.info.readable.expires_ms if one.info.readable else 0
    return f"it expires at {moment(expires)} if it has not started then" if expires else ""


_REASONS: Sequence[Callable[[Situation], str]] = (
    _dependent,
    _doomed,
    _awaiting,
    _delayed,
    _paused,
    _named,
    _limited,
    _deferred,
    _in_line,
    _unserved,
    _expiring,
)


def _before(one: Situation) -> int:
    """About how many ready tasks come before this one: those of a higher priority class, and those of its own that
    became ready earlier. A look at the newest tells how many come after it."""
    mine, after, is_newer = _class_of(one.info), 0, True
    for task in _newest(one):
        if task.id == one.info.id:
            is_newer = False
        elif not (task.gate or task.waits_for or task.suspended) and not (
            task.readable and task.readable.due_ms > one.now
        ):
            number = _class_of(task)
            after += number < mine or (is_newer and number == mine)
    return max(0, one.backend.depth().ready - 1 - after)


def _class_of(task: TaskInfo) -> int:
    return class_of(task.readable.priority) if task.readable else 0


def _newer(one: Situation, like: Callable[[TaskInfo], bool]) -> int:
    """How many tasks of its status and like it are newer than this one, as far as a look at the newest tells."""
    return sum(map(like, takewhile(lambda task: task.id != one.info.id, _newest(one))))


def _newest(one: Situation) -> Iterator[TaskInfo]:
    """The newest tasks of its status, as many as are looked at."""
    cursor = ""
    for _ in range(one.scan // _PAGE):
        page, cursor = one.backend.tasks(one.info.status, cursor, _PAGE)
        yield from page
        if not cursor:
            return


def moment(ms: int) -> str:
    """A time of the store's clock, for people."""
    if ms >= _END_OF_TIME:
        return "after the year 9999"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _seconds(ms: int) -> str:
    seconds = max(1, round(ms / 1000))
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
