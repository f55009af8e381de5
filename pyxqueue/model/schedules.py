"""Schedules as a store keeps them, and the rules about them: which ticks run, and who may change a definition.

All times are integer ms of the store's clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args

import attrs
from attrs import frozen

from ..errors import ConfigurationError, SerializationError
from ..printable import printable, quoted
from .message import MISSED_HEADER, TICK_HEADER, Fields, Message, Unreadable, evolve
from .ticks import Timing
from .wire import message_from_fields, message_to_fields

SCHEDULE_ID = re.compile(r"[A-Za-z0-9_.-]{1,48}")
"""Short enough that the id of a tick's task, which has the time behind a dot, is a valid id."""
FORMAT = 1
"""The format of a stored schedule. A reader leaves one of a newer format alone."""

DECLARE_EVERY_MS = 60_000
"""How often a supervisor renews the declarations of its code."""
ORPHANED_AFTER_MS = 600_000
"""A schedule of the code that no supervisor has declared for so long does not tick any more."""
KEPT_MS = 7 * 86_400_000
"""How long such a schedule is kept."""
RETRY_MS = 60_000
"""How long after a tick that could not be computed the schedule is tried again."""
LOOK_MS = 3_600_000
"""How often a paused schedule of the code is looked at: it may have been removed from the code."""
RECHECK_MS = 1_000
"""How often a tick that waits for the run before looks whether that has ended."""
_AHEAD_MS = 86_400_000
"""A cursor that is further in the future was set while the store's clock was wrong."""
_LONGEST_ERROR = 500

MissedPolicy: TypeAlias = Literal["once", "skip", "all"]
Overlap: TypeAlias = Literal["skip", "allow", "queue"]
Origin: TypeAlias = Literal["code", "runtime"]


@frozen
class MissedTicks:
    """What happens to ticks at whose time no supervisor ran."""

    policy: MissedPolicy = "once"
    grace_ms: int = 0
    """For ``skip``: the latest that a tick may be run; 0 for one period, at least a minute."""
    limit: int = 100
    """For ``all``: the most ticks that are run."""
    within_ms: int = 86_400_000
    """For ``all``: the age of the oldest tick that is run."""


def valid_schedule_id(schedule_id: object) -> str:
    """Return the id of a schedule. Raises `ConfigurationError` if it is not 1 to 48 of ``[A-Za-z0-9_.-]``."""
    if not isinstance(schedule_id, str) or not SCHEDULE_ID.fullmatch(schedule_id):
        raise ConfigurationError(
            f"schedule id {quoted(schedule_id)} is not valid: use 1 to 48 characters of A-Z a-z 0-9 _ . -"
        )
    return schedule_id


def schedule_id_of(task_name: str) -> str:
    """Return the id of the schedule that the code declares with a task: its name, cut if it is not a valid id."""
    if SCHEDULE_ID.fullmatch(task_name):
        return task_name
    digest = hashlib.sha256(task_name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', task_name)[-39:]}-{digest}"


def tick_id(schedule_id: str, tick: int) -> str:
    """Return the id of the task of a tick."""
    return f"{schedule_id}.{tick}"


@frozen
class Schedule:
    """A schedule: its definition, and how far it has come."""

    id: str
    timing: Timing
    call: Message
    """The call that each tick enqueues. Its id is that of the schedule, and its seal is valid for schedules only."""
    missed: MissedTicks = MissedTicks()
    overlap: Overlap = "skip"
    origin: Origin = "runtime"
    mark: str = ""
    """A text that is different after each change; empty before the first one."""
    declared_ms: int = 0
    """The start time of the process that declared the definition."""
    seen_ms: int = 0
    """When it was last declared."""
    cursor: int = 0
    """All ticks up to this time are decided."""
    last_ms: int = 0
    """The last tick that was enqueued; 0 if there was none."""
    next_ms: int = 0
    """When the schedule is to be looked at again, usually its next tick; 0 for never."""
    paused: bool = False
    orphaned: bool = False
    """No supervisor has declared it for `ORPHANED_AFTER_MS`."""
    task_id: str = ""
    """The task of the last tick that was enqueued."""
    runs: int = 0
    """How many ticks were enqueued."""
    skipped: int = 0
    """How many ticks were not enqueued because the run before had not ended."""
    missed_ticks: int = 0
    """How many ticks were not enqueued because no supervisor ran in time."""
    passed: int = 0
    """How many ticks were skipped or missed since the last one that was enqueued."""
    errors: int = 0
    error: str = ""
    """Why the last tick could not be enqueued; empty after one that was."""

    @property
    def definition(self) -> tuple[object, ...]:
        """What makes two definitions equal. A seal depends on the key too, and is left out."""
        return self.timing, evolve(self.call, seal=""), self.missed, self.overlap


_PLAIN = Schedule("", Timing(), Message("", ""))
_NUMBERS = {
    "declared": "declared_ms", "seen": "seen_ms", "cursor": "cursor", "last": "last_ms", "next": "next_ms",
    "runs": "runs", "skipped": "skipped", "missed_ticks": "missed_ticks", "passed": "passed",
    "errors": "errors",
}  # fmt: skip
_TEXTS = {"mark": "mark", "overlap": "overlap", "origin": "origin", "task": "task_id", "error": "error"}
_FLAGS = ("paused", "orphaned")
_MISSED = {"grace": "grace_ms", "limit": "limit", "within": "within_ms"}


def schedule_to_fields(schedule: Schedule) -> list[bytes]:
    """Return the stored form: the fields of the call, and those of the schedule. A field at its default is left out."""
    flat = [b"schedule", b"%d" % FORMAT, *message_to_fields(schedule.call)]
    if schedule.timing.every_ms:
        flat += (b"every", b"%d" % schedule.timing.every_ms)
    else:
        flat += (b"cron", schedule.timing.cron.encode(), b"timezone", schedule.timing.timezone.encode())
    flat += (b"missed", schedule.missed.policy.encode())
    for name, attribute in _MISSED.items():
        if (number := getattr(schedule.missed, attribute)) != getattr(_PLAIN.missed, attribute):
            flat += (name.encode(), b"%d" % number)
    for name, attribute in _NUMBERS.items():
        if number := getattr(schedule, attribute):
            flat += (name.encode(), b"%d" % number)
    for name, attribute in _TEXTS.items():
        if text := getattr(schedule, attribute):
            flat += (name.encode(), text.encode("utf-8", "replace"))
    for name in _FLAGS:
        if getattr(schedule, name):
            flat += (name.encode(), b"1")
    return flat


def schedule_from_fields(schedule_id: str, fields: Fields) -> Schedule:
    """Read the stored form. Raises `SerializationError` for what this release cannot read."""
    try:
        if (found := int(fields.get(b"schedule", b"0"))) > FORMAT:
            raise SerializationError(
                f"the schedule {schedule_id} has the format {found}, newer than {FORMAT}: upgrade pyxqueue here"
            )
        call = message_from_fields(fields, schedule_id)
        if isinstance(call, Unreadable):
            raise SerializationError(f"the call of the schedule {schedule_id} cannot be read: {call.reason}")
        every = int(fields.get(b"every", b"0"))
        cron, timezone = (fields.get(name, b"").decode() for name in (b"cron", b"timezone"))
        timing = Timing(every_ms=every) if every > 0 else Timing(cron, timezone)
        missed: dict[str, Any] = {
            attribute: int(fields[name.encode()]) for name, attribute in _MISSED.items() if name.encode() in fields
        }
        values: dict[str, Any] = {
            attribute: _number(fields[name.encode()]) for name, attribute in _NUMBERS.items() if name.encode() in fields
        }
        values |= {
            attribute: fields[name.encode()].decode() for name, attribute in _TEXTS.items() if name.encode() in fields
        }
        values |= {name: fields.get(name.encode()) == b"1" for name in _FLAGS}
        policy: Any = fields.get(b"missed", b"").decode()
        known = (policy in get_args(MissedPolicy), values.get("overlap") in get_args(Overlap), call.id == schedule_id)
        if not all(known) or not (every > 0 or cron):
            raise ValueError("one of its fields has a value that no release writes")
        return Schedule(schedule_id, timing, call, MissedTicks(policy, **missed), **values)
    except SerializationError:
        raise
    except (ValueError, TypeError) as error:
        raise SerializationError(f"the stored schedule {schedule_id} is damaged: {error}") from error


def _number(raw: bytes) -> int:
    number = int(raw)
    if not 0 <= number < 2**53:
        raise ValueError(f"{number} is out of range")
    return number


# Who may change a definition


def declared(old: Schedule | None, new: Schedule, now: int) -> Schedule | None:
    """Return a schedule after its declaration by the code; None if that changes nothing. A definition is replaced only
    by that of a process that was started later: during a deployment, the old release goes on declaring for a while. A
    schedule that was made at run time stays as it is.
    """
    if old is None:
        return first(new, now)
    if old.origin == "runtime":
        return None
    later = new.declared_ms > old.declared_ms
    if old.definition != new.definition:
        return replaced(old, new, now) if later else None
    if old.orphaned:  # it is back: ticks of the time between are not made up for
        return _renewed(attrs.evolve(old, orphaned=False, cursor=max(old.cursor, now)), new, now)
    if later:  # it may know newer rules of the time zone, or have a newer key
        return _renewed(old, new, now)
    return attrs.evolve(old, seen_ms=now) if now - old.seen_ms >= DECLARE_EVERY_MS else None


def upserted(old: Schedule | None, new: Schedule, now: int) -> Schedule:
    """Return a schedule after `upsert`."""
    if old is None:
        return first(new, now)
    if old.definition != new.definition or old.orphaned:
        return replaced(old, new, now)
    return attrs.evolve(old, call=new.call, origin=new.origin, declared_ms=new.declared_ms, seen_ms=now)


def first(new: Schedule, now: int) -> Schedule:
    """Return a schedule that is new to the store. It does not tick for times in the past."""
    return attrs.evolve(new, seen_ms=now, cursor=now, next_ms=new.timing.after(now))


def replaced(old: Schedule, new: Schedule, now: int) -> Schedule:
    """Return the schedule with another definition. No tick that was decided ticks again; if one was due and not decided
    yet, the new definition takes over before it."""
    cursor = max(old.cursor, min(now, _undecided(old, now) - 1))
    changed = attrs.evolve(
        old, timing=new.timing, call=new.call, missed=new.missed, overlap=new.overlap, origin=new.origin,
        cursor=cursor, orphaned=False, errors=0, error="",
    )  # fmt: skip
    return _renewed(changed, new, now)


def _undecided(old: Schedule, now: int) -> int:
    """Return the first tick that is not decided; any later time than `now` if there is none."""
    if old.paused or old.orphaned:
        return now + 1
    try:
        return old.timing.after(old.cursor)
    except ConfigurationError:  # its time zone is not known here
        return now + 1


def _renewed(old: Schedule, new: Schedule, now: int) -> Schedule:
    """Return the schedule after a declaration by another process; its next tick is computed again."""
    cursor = unwound(old, now)
    renewed = attrs.evolve(
        old, call=new.call, declared_ms=max(old.declared_ms, new.declared_ms), seen_ms=now, cursor=cursor
    )
    return looked_at(renewed, now) if old.paused else attrs.evolve(renewed, next_ms=old.timing.after(cursor))


def unwound(schedule: Schedule, now: int) -> int:
    """Return the cursor, or `now` if it is so far ahead that the store's clock was wrong when it was set."""
    return now if schedule.cursor > now + _AHEAD_MS else schedule.cursor


def paused(old: Schedule, now: int) -> Schedule:
    """Return the schedule, paused."""
    return old if old.paused else looked_at(attrs.evolve(old, paused=True), now)


def looked_at(old: Schedule, now: int) -> Schedule:
    """Return a paused schedule after it was looked at. If the code does not declare it any more, it becomes an orphan
    and is deleted as any other."""
    if old.orphaned:
        return old
    return attrs.evolve(old, next_ms=now + LOOK_MS if old.origin == "code" else 0)


def resumed(old: Schedule, now: int) -> Schedule:
    """Return the schedule, resumed. Ticks of the pause are not made up for."""
    if not old.paused:
        return old
    cursor = max(unwound(old, now), now)
    next_ms = old.next_ms if old.orphaned else old.timing.after(cursor)
    return attrs.evolve(old, paused=False, cursor=cursor, next_ms=next_ms)


def is_orphan(schedule: Schedule, now: int, working_since: int) -> bool:
    """Return whether no supervisor has declared a schedule of the code for a long time, although one has worked."""
    return schedule.origin == "code" and now - max(schedule.seen_ms, working_since) > ORPHANED_AFTER_MS


def orphaned(old: Schedule, now: int) -> Schedule:
    """Return the schedule as an orphan, which nobody declares any more. It is looked at again when it is to be
    deleted."""
    return attrs.evolve(old, orphaned=True, next_ms=now + KEPT_MS)


def failed(old: Schedule, now: int, reason: str) -> Schedule:
    """Return the schedule after a tick that could not be enqueued. It is tried again."""
    return attrs.evolve(old, errors=old.errors + 1, error=printable(reason, _LONGEST_ERROR), next_ms=now + RETRY_MS)


# Which ticks run


@frozen
class Decision:
    """The decision about one tick of a schedule."""

    tick: int
    runs: bool
    """False if it was missed, as those before it."""
    before: int = 0
    """How many ticks before it were missed."""


def decide(schedule: Schedule, now: int) -> Sequence[Decision]:
    """Return the decisions about all ticks that are due, in order; nothing if none is due."""
    ticks, number = schedule.timing.due(schedule.cursor, now)
    if not ticks:
        return ()
    latest, policy = ticks[-1], schedule.missed
    if policy.policy == "all":
        chosen = [tick for tick in ticks if now - tick <= policy.within_ms][-policy.limit :]
        if not chosen:
            return [Decision(latest, False, number - 1)]
        return [Decision(tick, True, 0 if position else number - len(chosen)) for position, tick in enumerate(chosen)]
    late = policy.policy == "skip" and now - latest > _grace(schedule, latest)
    return [Decision(latest, not late, number - 1)]


def _grace(schedule: Schedule, tick: int) -> int:
    return schedule.missed.grace_ms or max(60_000, schedule.timing.after(tick) - tick)


def tick_headers(schedule: Schedule, decision: Decision) -> dict[str, str]:
    """Return the headers that tell a task its tick."""
    passed = schedule.passed + decision.before
    return {TICK_HEADER: str(decision.tick), **({MISSED_HEADER: str(passed)} if passed else {})}


def tick_text(tick: int) -> str:
    """Return the time of a tick for the log."""
    try:
        return datetime.fromtimestamp(tick / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(tick)


def ran(old: Schedule, decision: Decision) -> Schedule:
    """Return the schedule after a tick that was enqueued."""
    tick = decision.tick
    return attrs.evolve(
        old, cursor=tick, last_ms=tick, next_ms=old.timing.after(tick), task_id=tick_id(old.id, tick),
        runs=old.runs + 1, missed_ticks=old.missed_ticks + decision.before, passed=0, error="",
    )  # fmt: skip


def missed(old: Schedule, decision: Decision) -> Schedule:
    """Return the schedule after a tick that was missed."""
    number = decision.before + 1
    return attrs.evolve(
        old, cursor=decision.tick, next_ms=old.timing.after(decision.tick), missed_ticks=old.missed_ticks + number,
        passed=old.passed + number, error="",
    )  # fmt: skip


def overlapped(old: Schedule, decision: Decision, now: int) -> Schedule:
    """Return the schedule after a tick at which the run before had not ended: the tick is skipped, or waits."""
    if old.overlap == "queue":
        return attrs.evolve(old, next_ms=now + RECHECK_MS)
    return attrs.evolve(
        old, cursor=decision.tick, next_ms=old.timing.after(decision.tick), skipped=old.skipped + 1,
        missed_ticks=old.missed_ticks + decision.before, passed=old.passed + decision.before + 1, error="",
    )  # fmt: skip
