"""Ticks schedules, and declares those of the code. Any number of programs may do it for a queue at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import inf

from attrs import define, field

from .clock import wall_clock
from .codec import Codec
from .errors import BrokerError, BrokerUnavailableError, ConfigurationError, PyxqueueError
from .ids import new_id
from .log import get_logger
from .model import schedules as rules
from .model.events import TickSkipped
from .model.message import TICK_HEADER, Message, evolve
from .model.schedules import Decision, Schedule
from .printable import counted
from .protocols import Changed, ScheduleChange, ScheduleStore, schedules_of

log = get_logger("pyxqueue.schedules")

_BATCH = 256
"""How many schedules one look processes, and how many tasks it enqueues at most: a supervisor has other duties."""
_SKEW_MS = 3_600_000
"""By how much the clocks of the store and of this machine may differ."""
_BREAK_MS = 300_000
"""A break in the work of a supervisor is at least so long."""
_PACE = 1.0
"""Seconds until the next look after one at which a schedule could not be ticked."""
_TRIES = 20


@define(eq=False)
class Ticker:
    """Ticks the schedules in `store`.

    Parameters: `codec` verifies and makes seals; `clock`, this machine's clock, compared with the store's, unless
    it is None; `observe`, called with each `TickSkipped`.
    """

    store: ScheduleStore
    codec: Codec
    clock: Callable[[], int] | None = wall_clock
    observe: Callable[[TickSkipped], None] = lambda _: None
    new_mark: Callable[[], str] = new_id
    monotonic: Callable[[], float] = time.monotonic
    _since: int | None = field(default=None, init=False)
    """When this began to work, by the store's clock."""
    _worked: tuple[int, float] = field(default=(0, 0.0), init=False)
    """Since when it has worked without a break, by the store's clock and by `monotonic`."""
    _own: frozenset[str] = field(default=frozenset(), init=False)
    """The schedules that it declares."""
    _room: int = field(default=0, init=False)
    """How many more tasks may be enqueued in this look."""
    _skewed: bool = field(default=False, init=False)
    _reported: dict[str, str] = field(factory=dict, init=False)
    """By schedule, the last thing that was logged about it."""

    def begin(self) -> int:
        """Return when this began to work, by the store's clock; the first call reads that clock."""
        if self._since is None:
            self._since = self.store.due(0).now
            self._worked = self._since, self.monotonic()
        return self._since

    def interrupted(self) -> None:
        """Note that this has not worked for a while: others may have had no chance to declare their schedules."""
        self._worked = 2**53, self.monotonic()

    # Declaring

    def declare(self, schedules: Sequence[Schedule]) -> None:
        """Declare schedules of the code, or renew the declaration. If one cannot be declared, the others still are; the
        error is raised at the end."""
        by, now = self.begin(), self.store.due(0).now
        self._own = frozenset(one.id for one in schedules)
        refused: BrokerError | None = None
        for one in schedules:
            try:
                self.alter(one.id, lambda old: rules.declared(old, evolve(one, declared_ms=by), now))  # noqa: B023 - at once
            except BrokerUnavailableError:
                raise
            except BrokerError as error:
                refused = error
            except PyxqueueError as error:
                self._report(one.id, f"the schedule {one.id} cannot be declared: {error}")
        if refused is not None:
            raise refused

    def alter(self, schedule_id: str, change: Callable[[Schedule | None], Schedule | None]) -> Schedule | None:
        """Replace a schedule by what `change` makes of it, again if another program changes it meanwhile. Nothing is
        stored where `change` returns None. Returns the schedule as it is then."""
        for _ in range(_TRIES):
            (old,) = self.store.get([schedule_id])
            if old is None and schedule_id in self.store.ids():
                (old,) = self.store.get([schedule_id])  # another program may have made it between the two looks
                if old is None:
                    raise unreadable(schedule_id)
            new = change(old)
            if new is None:
                return old
            new = evolve(new, mark=self.new_mark())
            try:
                if self.store.change(ScheduleChange(schedule_id, old.mark if old else "", new)) is Changed.DONE:
                    return new
            except BrokerUnavailableError:
                (now,) = self.store.get([schedule_id])  # only the reply may have been lost
                if now is not None and now.mark == new.mark:
                    return now
                raise
        raise BrokerError(f"the schedule {schedule_id} is changed by others all the time: try again")

    # Ticking

    def tick(self) -> float:
        """Tick what is due. Returns the seconds until the next look; infinite if no schedule waits."""
        self.begin()
        due = self.store.due(_BATCH)
        if self._is_skewed(due.now):
            return rules.RETRY_MS / 1000
        since, self._room = self._working_since(due.now), _BATCH
        left = [due.left / 1000] if due.left >= 0 else []
        for one in due.schedules:
            try:
                next_ms = self._act(one, due.now, since)
                left += [max(0, next_ms - due.now) / 1000] if next_ms else []
            except BrokerUnavailableError:
                raise
            except BrokerError as error:
                self._report(one.id, f"the schedule {one.id} cannot tick now, trying again: {error}")
                left.append(_PACE)
        return min(left, default=inf)

    def _working_since(self, now: int) -> int:
        """Return since when this has worked without a break. If the store's clock has gone further than the time that
        has passed here, the machine was asleep, or the clock was set."""
        since, at = self._worked
        if abs(now - since - (self.monotonic() - at) * 1000) > _BREAK_MS:
            self._worked = since, at = now, self.monotonic()
        return since

    def _act(self, one: Schedule, now: int, since: int) -> int:
        """Do what is due for one schedule. Returns when it is due again; 0 for never."""
        try:
            if one.orphaned:
                self.store.change(ScheduleChange(one.id, one.mark, None))
                log.warning("the schedule %s is deleted: no code has declared it for a week", one.id)
                return 0
            if one.id not in self._own and rules.is_orphan(one, now, since):
                log.warning(
                    "the schedule %s does not tick any more: no worker has declared it for ten minutes, so it was "
                    "removed from the code",
                    one.id,
                )
                return self._put(one, rules.orphaned(one, now)).next_ms
            if one.paused:
                return self._put(one, rules.looked_at(one, now)).next_ms
            return self._decide(one, now)
        except BrokerError:
            raise
        except Exception as error:  # noqa: BLE001 - one schedule must not stop the others
            self._report(one.id, f"the schedule {one.id} cannot tick: {type(error).__name__}: {error}")
            return self._put(one, rules.failed(one, now, f"{type(error).__name__}: {error}")).next_ms

    def _decide(self, one: Schedule, now: int) -> int:
        decisions = rules.decide(one, now)
        if not decisions:  # it was looked at before its tick, or its clock was wrong once
            cursor = rules.unwound(one, now)
            return self._put(one, evolve(one, cursor=cursor, next_ms=one.timing.after(cursor))).next_ms
        for decision in decisions:
            if not decision.runs:
                self._tell(one, decision, decision.before + 1, "missed")
                return self._put(one, rules.missed(one, decision)).next_ms
            if not self._room:
                return now
            self._room -= 1
            new, changed = self._run(one, decision, now)
            if changed is not Changed.DONE:
                return new.next_ms
            one = new
        self._reported.pop(one.id, None)
        return one.next_ms

    def _run(self, one: Schedule, decision: Decision, now: int) -> tuple[Schedule, Changed]:
        """Enqueue the task of a tick, unless the run before must end first."""
        new = evolve(rules.ran(one, decision), mark=self.new_mark())
        message = self.codec.tick_call(one.call, new.task_id, rules.tick_headers(one, decision))
        change = ScheduleChange(one.id, one.mark, new, message, not_before=decision.tick)
        if one.overlap != "allow" and one.task_id:
            otherwise = evolve(rules.overlapped(one, decision, now), mark=self.new_mark())
            change = evolve(change, unless=one.task_id, otherwise=otherwise)
        changed = self.store.change(change)
        if changed is Changed.OTHERWISE and change.otherwise is not None:
            if one.overlap == "skip":
                self._tell(one, decision, decision.before + 1, "overlap")
            return change.otherwise, changed
        return new, changed

    def _put(self, old: Schedule, new: Schedule) -> Schedule:
        new = evolve(new, mark=self.new_mark())
        self.store.change(ScheduleChange(old.id, old.mark, new))
        return new

    def _tell(self, one: Schedule, decision: Decision, number: int, reason: str) -> None:
        if reason == "overlap":
            text = "the schedule %s skips its tick %s: the task %s of an earlier tick has not ended"
            log.info(text, one.id, rules.tick_text(decision.tick), one.task_id, extra={"schedule": one.id})
        else:
            text = "the schedule %s has missed %s, the last at %s: it was too late"
            log.warning(
                text, one.id, counted(number, "tick"), rules.tick_text(decision.tick), extra={"schedule": one.id}
            )
        self.observe(TickSkipped(one.id, one.call.name, decision.tick, number, reason, self.codec.queue))

    def _report(self, schedule_id: str, text: str) -> None:
        """Log something about a schedule once, until it ticks again."""
        if self._reported.get(schedule_id) != text:
            self._reported[schedule_id] = text
            log.warning("%s", text)

    def _is_skewed(self, now: int) -> bool:
        skew = 0 if self.clock is None else now - self.clock()
        if (abs(skew) > _SKEW_MS) is not self._skewed:
            self._skewed = not self._skewed
            if self._skewed:
                log.error(
                    "schedules do not tick here: the store's clock and that of this machine differ by %.1f h; "
                    "synchronize them",
                    abs(skew) / 3_600_000,
                )
            else:
                log.warning("schedules tick again: the clocks agree")
        return self._skewed


def unreadable(schedule_id: str) -> BrokerError:
    return BrokerError(
        f"the schedule {schedule_id} is damaged, or of a newer pyxqueue: upgrade pyxqueue here, or delete it in the "
        "store by hand"
    )


def store_of_schedules(backend: object) -> ScheduleStore:
    """Return the schedules of a backend. Raises `ConfigurationError` if it does not keep any."""
    found = schedules_of(backend)
    if found is None:
        raise ConfigurationError(
            "this store does not keep schedules: use redis://, sqlite:/// or memory://, or a backend that implements "
            "pyxqueue.protocols.HasSchedules"
        )
    return found


def triggered_call(codec: Codec, one: Schedule, task_id: str, now: int, headers: Mapping[str, str]) -> Message:
    """Return the call of a run at once, which is not a tick, with `headers` beside its own."""
    return codec.tick_call(one.call, task_id, {**headers, TICK_HEADER: str(now)})
