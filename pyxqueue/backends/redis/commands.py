"""The script calls, without I/O: their keys and arguments, and how their replies are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from msgspec import Struct, structs

from ...errors import SerializationError
from ...model.locks import LockTerms, Placed, Placement, is_held_until_start
from ...model.message import (
    DEDUPE_MS,
    Defer,
    Delivery,
    Done,
    Extension,
    Fail,
    Fields,
    LeaseStatus,
    Message,
    Record,
    Retry,
    Settlement,
    StartStatus,
    Suspend,
    TaskInfo,
    TaskStatus,
    Unreadable,
    Verdict,
    evolve,
)
from ...model.past import appended
from ...model.places import Listed, cut_fields
from ...model.priorities import class_of
from ...model.rates import has_rate
from ...model.schedules import schedule_to_fields
from ...model.steps import MAX_EVENTS, EventStatus, Steps
from ...model.transitions import ENDS, LEASE_STATUSES, default_record, late_reason
from ...model.turns import Turn
from ...model.wire import (
    message_from_fields,
    message_to_fields,
    progress_to_json,
    record_from_fields,
    record_to_fields,
)
from ...protocols import Changed, Expired, ScheduleChange, TakenIn
from .faults import StaleGroups
from .keys import LAYOUT, LINES, LIVE, GroupKeys, later_stream, lines_of, meta, schedule, timetable, with_results
from .reading import (
    MAX_FIELDS,
    MAX_GROUPS,
    Groups,
    entry_before,
    entry_fence,
    entry_range,
    is_entry,
    message_in,
    other_layout,
    pack,
    pairs,
    read_classes,
    read_groups,
    task_fields,
    task_info,
)

if TYPE_CHECKING:
    from ...model.failed import FailedLimits

MAX_TTL = 10**15
"""The longest time to live in ms: Redis refuses one that ends after the range of its clock."""

_LEASE_STATUSES = (LeaseStatus.LOST, *LEASE_STATUSES)
"""By the numbers that scripts return."""
T = TypeVar("T")
Arg = str | bytes | int


class Command(Struct, Generic[T], frozen=True):
    """One script call."""

    script: str
    keys: Sequence[str]
    args: Sequence[Arg]
    parse: Callable[[Any], T]
    then: Callable[[Any], Command[Any] | None] | None = None
    """What to call next, by the reply. The result does not depend on it: if it is lost, a supervisor does the same."""


def register(
    stream_key: str,
    group: str,
    lease: int | None,
    default: int,
    classes: Sequence[int] = (),
    *,
    known: Iterable[str] = (),
    born: str = "",
) -> Command[Groups]:
    """`classes`: the priority classes that the caller uses. `known`: the live places in which it has known the group to
    be: if the store has lost it there, it counts that. `born`: when that group was made."""

    def parse(reply: Any) -> Groups:
        if isinstance(reply, int):
            raise other_layout(stream_key, reply)
        found = read_groups(stream_key, pairs(reply[1]), reply[0])
        if group not in found.streams:
            raise found.crowd(stream_key)
        born = pairs(reply[1]).get(f"born:{group}".encode(), b"").decode(errors="replace")
        return structs.replace(found, gone=frozenset(place.decode() for place in reply[2]), born=born)

    later = GroupKeys.of(stream_key, group, later_stream(stream_key, group))
    keys = [later.meta, stream_key, later.new, later.again, *later.streams_of_classes]
    args = (
        group,
        "" if lease is None else lease,
        default,
        MAX_FIELDS,
        MAX_GROUPS,
        LAYOUT,
        _numbers(classes),
        "".join(known),
        born,
    )
    return Command("register", keys, args, parse)


def _numbers(classes: Iterable[int]) -> str:
    """Priority classes as the meta hash has them."""
    return " ".join(str(number) for number in LINES if number in classes)


def unregister(stream_key: str, group: str) -> Command[bool]:
    return Command("unregister", [meta(stream_key)], [group], bool)


def tell(keys: GroupKeys, ids: Sequence[str]) -> Command[int]:
    return Command("tell", [keys.notes], ids, int)


def enqueue(stream_key: str, groups: Groups, messages: Sequence[Message]) -> Command[list[bool]]:
    """The reply may stop short, where Redis refuses a message: `enqueue_any` does the rest.

    The parser raises `StaleGroups` if the list of groups has changed.
    """
    if len(groups.streams) > 1 or any(map(_is_special, messages)):
        return enqueue_any(stream_key, groups, messages)
    (group,) = groups.streams.values()
    prefix = group.task_prefix
    keys, args = [meta(stream_key), group.new], list[Arg]([groups.version])
    for message in messages:
        keys.append(prefix + message.id)
        fields = _message_fields(message)
        args += (len(fields), *fields)
    return Command("enqueue_ready", keys, args, _enqueued)


def enqueue_within(stream_key: str, groups: Groups, messages: Sequence[Message], max_length: int) -> Command[TakenIn]:
    """`enqueue` within a bound, for what `are_usual` accepts. It may stop short, where Redis refuses a message."""
    (group,) = groups.streams.values()
    streams = group.new, group.again, group.parked, *(group.streams_of_classes if groups.classes else ())
    prefix = group.task_prefix
    args: list[Arg] = [groups.version, _numbers(groups.classes), max_length, len(streams)]
    for message in messages:
        fields = _message_fields(message)
        args += (len(fields), *fields)

    def parse(reply: Any) -> TakenIn:
        if reply == b"GROUPS":
            raise StaleGroups("the list of groups has changed")
        length = -reply.pop() if reply and reply[-1] < 0 else 0
        placements = (Placement.NEW if number else Placement.KNOWN for number in reply)
        return TakenIn([Placed(done, one.id) for done, one in zip(placements, messages, strict=False)], length)

    keys = [meta(stream_key), *streams, *(prefix + message.id for message in messages)]
    return Command("enqueue_ready_within", keys, args, parse)


def are_usual(groups: Groups, messages: Sequence[Message]) -> bool:
    """Whether messages are ready at once, without a lock, and go into one group only."""
    return len(groups.streams) == 1 and not any(message.lock or _is_special(message) for message in messages)


def _is_special(message: Message) -> bool:
    """Whether it needs more than `enqueue_ready` does."""
    expires = message.lifetime_ms > 0 or message.expires_ms
    ready = message.gates or message.share or message.priority or message.flow
    return bool(message.delay_ms > 0 or ready or expires)


def enqueue_any(stream_key: str, groups: Groups, messages: Sequence[Message]) -> Command[list[bool]]:
    """`enqueue`, into any number of groups, with any delay and with gates."""
    keys = [meta(stream_key)]
    for group in groups.streams.values():
        keys += group.own
    args: list[Arg] = [groups.version, len(groups.streams)]
    prefixes = [group.task_prefix for group in groups.streams.values()]
    for message in messages:
        keys += [prefix + message.id for prefix in prefixes]
        args += _message_args(message)
    return Command("enqueue", keys, args, _enqueued)


def enqueue_unique(  # noqa: PLR0917 - in the order of what decides about a message
    stream_key: str,
    groups: Groups,
    messages: Sequence[Message],
    terms: LockTerms,
    seen: Mapping[int, str],
    max_length: int | None = None,
) -> Command[TakenIn]:
    """`seen`: by their number, the holders of the locks of messages, as an earlier call has returned them;
    `max_length`: the bound of `enqueue_within`."""

    def parse(reply: Any) -> TakenIn:
        if reply == b"GROUPS":
            raise StaleGroups("the list of groups has changed")
        length = reply.pop() if len(reply) % 2 else 0
        pairs_ = zip(reply[::2], reply[1::2], strict=True)
        return TakenIn([Placed(Placement(placement), task_id.decode()) for placement, task_id in pairs_], length)

    all_keys = list(groups.streams.values())
    keys = [meta(stream_key), *chain.from_iterable(group.own for group in all_keys)]
    args: list[Arg] = [groups.version, len(all_keys), terms.window_ms, terms.max_wait_ms, int(terms.keep_first)]
    args += ("", "") if max_length is None else (max_length, _numbers(groups.classes))
    args += [group.group for group in all_keys]
    for number, message in enumerate(messages):
        holder, name = seen.get(number, ""), message.lock[1:]
        for group in all_keys:
            keys += (group.task(message.id), group.task(holder or message.id), group.window(name))
        fields = _message_fields(message)
        args += (message.id, message.delay_ms, message.lock, holder, len(fields), *fields)
    return Command("enqueue_unique", keys, args, parse)


def lock_holders(keys: GroupKeys, names: Sequence[str]) -> Command[list[str]]:
    script_keys = [*keys.own, *map(keys.window, names)]
    return Command("lock_holders", script_keys, names, lambda reply: [task_id.decode() for task_id in reply])


def _enqueued(reply: Any) -> list[bool]:
    if reply == b"GROUPS":
        raise StaleGroups("the list of groups has changed")
    return _bools(reply)


def _bools(reply: Any) -> list[bool]:
    return [bool(number) for number in reply]


def _bools_and_turns(reply: Any) -> list[bool]:
    """`_bools`, without the tasks whose turn it is."""
    return [bool(number) for number in reply if isinstance(number, int)]


def _admission(keys: GroupKeys) -> Callable[[Any], Command[Any] | None]:
    """Promote the tasks that may start, which are the texts in a reply that begin with a \\1, and admit those whose
    turn it is, which are the others."""

    def then(reply: Sequence[int | bytes]) -> Command[Any] | None:
        texts = [one for one in reply if isinstance(one, bytes)]
        started = [one[1:].decode() for one in texts if one[:1] == b"\1"]
        standing = [one for one in texts if one[:1] != b"\1"]
        last = admit(keys, standing) if standing else None
        return promote(keys, started, last) if started else last

    return then


def promote(keys: GroupKeys, ids: Sequence[str], then: Command[Any] | None) -> Command[list[bool]]:
    """Make tasks ready that waited for others. `then`: what to call next."""
    keys = keys.whole
    return Command("promote", keys.with_tasks(ids), [keys.group, *ids], _bools, lambda _: then)


def admit(keys: GroupKeys, standing: Sequence[bytes] = ()) -> Command[int]:
    """Admit these tasks, as they stand in their lines, and then those whose turn it is. Returns the number of them.

    Their priority classes may have come into use since the caller looked, so the script gets all keys.
    """
    keys = keys.whole
    ids = [one.rpartition(b"\0")[2] for one in standing]
    args = chain.from_iterable(zip(ids, standing, strict=True))
    tasks = keys.with_tasks([task_id.decode(errors="replace") for task_id in ids])
    return Command("admit", tasks, [keys.group, *args], len, _admission(keys))


def draws(keys: GroupKeys, taken: Mapping[str, int]) -> Command[int]:
    """Draw from fair lines after a claim. `taken`: by the place to which a priority class comes back, how many the
    claim has taken of it. Returns how many are drawn."""
    args: list[Arg] = [part for pair in taken.items() for part in pair]
    return Command("draws", keys.own, args, len, _admission(keys))


def _message_fields(message: Message) -> list[bytes]:
    """The wire form without the times, which the store sets."""
    if message.enqueued_ms or message.due_ms:
        message = evolve(message, enqueued_ms=0, due_ms=0)
    if message.lifetime_ms > 0:  # the store makes it a time
        return [*message_to_fields(evolve(message, expires_ms=0)), b"expires", b"+%d" % message.lifetime_ms]
    return message_to_fields(message)


def _message_args(message: Message) -> list[Arg]:
    fields = _message_fields(message)
    return [message.id, message.delay_ms, len(fields), *fields]


def receipt(place: str, entry: str, consumer: str, message: Message | Unreadable) -> str:
    """The receipt of a delivery. Each claim has its own: a message gets a new entry before it is claimed again.

    It ends with "1" for what is not a message, and with letters for what `settle_done` does not know: "g" for gates,
    "b" for what must begin, "e" for edges.
    """
    if isinstance(message, Unreadable):
        return f"{place}{entry}|{consumer}|{message.id}|1"
    letters = f"{'g' if message.gates else ''}{'b' if message.expires_ms else ''}{'e' if message.flow else ''}"
    return f"{place}{entry}|{consumer}|{message.id}|{letters}"


def open_receipt(text: str) -> tuple[str, str, str, str, str]:
    """Place, entry, consumer, id, raw; for a text that is not a receipt, an entry that has no holder."""
    position, consumer, task_id, raw = (*text.rsplit("|", 3), "", "", "")[:4]
    place, entry = position[:1], position[1:]
    return (place, entry, consumer, task_id, raw) if place in LIVE and is_entry(entry) else ("n", "0-0", "", "", "")


def delivery(place: str, raw_entry: bytes, flat: Sequence[bytes], consumer: str, claimed_ms: int) -> Delivery:
    """The delivery of an entry that was claimed."""
    entry = raw_entry.decode()
    message = message_from_fields(pairs(flat), entry)
    must_begin = isinstance(message, Message) and (
        message.expires_ms > 0 or is_held_until_start(message) or has_rate(message)
    )
    return Delivery(message, receipt(place, entry, consumer, message), entry_fence(entry), must_begin, claimed_ms)


def claim(keys: GroupKeys, consumer: str, limit: int, turn: Turn, now: Callable[[], int]) -> Command[list[Delivery]]:
    """Where a priority class other than 0 is in use."""
    args: list[Arg] = [keys.group, consumer, limit, turn.since]
    for number, line in lines_of(keys.classes).items():
        args += (*line, "1" if number in turn.owed else "")

    def parse(reply: Any) -> list[Delivery]:
        claimed_ms = now()
        return [delivery(place.decode(), entry, flat, consumer, claimed_ms) for place, entry, flat in reply]

    return Command("claim", keys.own, args, parse)


def unread(
    keys: GroupKeys, group: str, consumer: str, surplus: Iterable[tuple[str, Sequence[str]]]
) -> Command[list[str]]:
    """`surplus`: for each live stream its place, and the entries to take back."""
    args: list[Arg] = [group, consumer]
    for place, entries in surplus:
        args += (place, entry_before(entries[0]), len(entries), *entries)
    return Command("unread", [*keys.own, keys.meta], args, lambda reply: [position.decode() for position in reply])


def _verdict_args(verdict: Verdict) -> tuple[str, Arg]:
    """The verdict's name and its detail."""
    match verdict:
        case Retry(delay):
            return "retry", _retry(verdict, "")
        case Defer(delay):
            return "defer", delay
        case Suspend():
            return "suspend", verdict.due_ms
        case Fail(reason):
            return "fail", reason
        case _:
            return "done", ""


def _retry(verdict: Retry, reason: str) -> str:
    """The delay of a retry, the line to keep of the run, and why the task fails if the retry comes too late."""
    new = appended("", verdict.past)
    return f"{verdict.delay_ms} {new}\n{reason}" if new or reason else f"{verdict.delay_ms}"


def record_value(record: Record) -> bytes:
    """The value that is stored of a record: its state, a space, and its other fields."""
    fields = record_to_fields(record)  # begins with its version and its state
    return b"%d %b" % (record.status, pack(fields[4:] if record.v == 1 else fields[:2] + fields[4:]))


def _record_args(settlement: Settlement, task_id: str, consumer: str) -> tuple[bytes, int, str]:
    """The record of an end, its time to live, and "1" if it was made here, so that the script adds the attempt."""
    if settlement.record is not None:
        return record_value(settlement.record), min(settlement.record.ttl_ms, MAX_TTL), ""
    if isinstance(settlement.verdict, Suspend):
        return _suspension(settlement.verdict), 0, ""
    status = ENDS.get(type(settlement.verdict))
    if status is None:
        return b"", 0, ""
    reason = settlement.verdict.reason if isinstance(settlement.verdict, Fail) else ""
    record = default_record(task_id, status, reason=reason, worker=consumer)
    return record_value(record), record.ttl_ms, "1"


def _suspension(verdict: Suspend) -> bytes:
    """What a suspended task waits for, and its steps, as the script reads them in place of a record."""
    steps = chain.from_iterable((name.encode(), value) for name, value in verdict.steps.items())
    return pack([verdict.event.encode(), verdict.flow.encode(), *steps])


def is_usual(settlement: Settlement) -> bool:
    """Whether `settle_done` can apply it: a success whose record lives at least as long as the id is known."""
    record = settlement.record
    return (
        type(settlement.verdict) is Done
        and record is not None
        and record.status is TaskStatus.SUCCESS
        and record.ttl_ms >= DEDUPE_MS
        and not settlement.then
        and settlement.receipt.endswith("|")
    )


def settle_done(keys: GroupKeys, history: int, settlements: Sequence[Settlement]) -> Command[list[bool]]:
    """Apply usual settlements of one consumer. The reply stops short of the first that `settle` must decide."""
    prefix = keys.task_prefix
    lane, _, holder, *_ = open_receipt(settlements[0].receipt)
    stream = keys.new if lane == "n" else keys.with_places(lane).places[lane]
    script_keys = [stream, keys.history, keys.notes]
    items: list[Arg] = []
    entries = []
    for settlement in settlements:
        place, entry, consumer, task_id, raw = open_receipt(settlement.receipt)
        record, ttl, _ = _record_args(settlement, task_id, consumer)
        entries.append(entry)
        script_keys.append(prefix + task_id)
        items += ("" if place != lane or consumer != holder or raw else entry, ttl, record)
    first = (lane, keys.group, history, holder, *entry_range(entries))
    return Command("settle_done", script_keys, [*first, *items], _bools)


def settle(keys: GroupKeys, history: int, settlements: Sequence[Settlement]) -> Command[list[bool]]:
    prefix = keys.task_prefix
    receipts = [open_receipt(settlement.receipt) for settlement in settlements]
    keys = keys.with_places(place for place, *_ in receipts)
    script_keys = [*keys.own, keys.meta]
    items: list[Arg] = []
    entries: dict[str, list[str]] = {place: [] for place in (LIVE if keys.classes else LIVE[:2])}
    consumer = ""
    for settlement, (place, entry, consumer, task_id, raw) in zip(settlements, receipts, strict=True):
        verdict, detail = _verdict_args(settlement.verdict)
        record, ttl, made = _record_args(settlement, task_id, consumer)
        entries[place].append(entry)
        script_keys.append(prefix + task_id)
        expires = verdict == "retry" and "b" in raw
        if expires:
            assert isinstance(settlement.verdict, Retry)
            detail = _retry(settlement.verdict, late_reason(settlement.record))
            record, ttl, made = _late_record(settlement, task_id, consumer)
        if verdict == "fail" or expires or (verdict == "done" and ttl < DEDUPE_MS):
            script_keys.append(keys.record(task_id))
        items += (place, entry, consumer, task_id, raw, verdict, detail, record, ttl, made, len(settlement.then))
        for follow_up in settlement.then:
            script_keys.append(prefix + follow_up.id)
            items += _message_args(follow_up)
    ranges = [entry_range(found) if found else ("", "", "") for found in entries.values()]
    args = [keys.group, history, len(settlements), consumer, *chain.from_iterable(ranges), *items]
    return Command("settle", script_keys, args, _bools_and_turns, _admission(keys))


def _late_record(settlement: Settlement, task_id: str, consumer: str) -> tuple[bytes, int, str]:
    """As `_record_args`, for a retry that fails if it comes too late (L8)."""
    reason = late_reason(settlement.record)
    return _record_args(evolve(settlement, verdict=Fail(reason)), task_id, consumer)


def limit(  # noqa: PLR0917 - in the order of the script's arguments
    keys: GroupKeys, kind: str, name: str, number: int | str | None, replace: bool, cursor: bytes = b""
) -> Command[bytes]:
    """Store a number or a pace, and look at the lines from `cursor` on. Returns where to go on; empty at the end."""
    args = [keys.group, kind, name, "" if number is None else number, int(replace), cursor]
    script_keys = [*keys.own, keys.meta]
    return Command("limit", script_keys, args, lambda reply: bytes(reply[0]), lambda reply: _admission(keys)(reply[1:]))


def lines(keys: GroupKeys, cursor: bytes) -> Command[tuple[bytes, list[tuple[str, int]]]]:
    """A part of the gates at which tasks wait, with their number, and where to go on; empty at the end."""

    def parse(reply: Any) -> tuple[bytes, list[tuple[str, int]]]:
        names = (raw.decode(errors="replace") for raw in reply[1::2])
        return reply[0], list(zip(names, reply[2::2], strict=True))

    return Command("lines", keys.own, [cursor], parse)


def extend(keys: GroupKeys, group: str, extensions: Sequence[Extension]) -> Command[list[LeaseStatus]]:
    args: list[Arg] = [group]
    ids, places = [], []
    for extension in extensions:
        place, entry, consumer, task_id, _raw = open_receipt(extension.receipt)
        ids.append(task_id)
        places.append(place)
        args += (place, entry, consumer, task_id, progress_to_json(extension.progress))
    keys = keys.with_places(places)
    return Command("extend", keys.with_tasks(ids), args, lambda reply: [_LEASE_STATUSES[number] for number in reply])


def save_steps(keys: GroupKeys, receipt: str, steps: Mapping[str, bytes]) -> Command[LeaseStatus]:
    place, entry, consumer, task_id, _raw = open_receipt(receipt)
    args: list[Arg] = [keys.group, place, entry, consumer, task_id]
    args += chain.from_iterable(steps.items())
    keys = keys.with_places(place)
    return Command("save_steps", keys.with_tasks([task_id]), args, lambda reply: _LEASE_STATUSES[reply[0]])


def load_steps(keys: GroupKeys, task_id: str) -> Command[Steps]:
    def parse(reply: Any) -> Steps:
        now, *flat = reply
        kept = pairs(flat)
        steps, events = (
            {name[1:].decode(): value for name, value in kept.items() if name[:1] == kind} for kind in (b"s", b"e")
        )
        return Steps(int(now), steps, events)

    return Command("load_steps", keys.own, [task_id], parse)


def send_event(keys: GroupKeys, task_id: str, name: str, value: bytes) -> Command[EventStatus]:
    def parse(reply: Any) -> EventStatus:
        if reply == b"GROUPS":
            raise StaleGroups("a priority class is new")
        return EventStatus(reply.decode())

    keys = keys.whole
    return Command("send_event", keys.with_tasks([task_id]), [keys.group, task_id, name, value, MAX_EVENTS], parse)


def forget_steps(keys: GroupKeys, ids: Sequence[str]) -> Command[list[None]]:
    return Command("forget_steps", keys.with_tasks(ids), list(ids), lambda _: [None] * len(ids))


def begin(keys: GroupKeys, history: int, receipts: Sequence[str]) -> Command[list[StartStatus]]:
    args: list[Arg] = [keys.group, history]
    ids = []
    for text in receipts:
        place, entry, consumer, task_id, _raw = open_receipt(text)
        ids.append(task_id)
        args += (place, entry, consumer, task_id)
    statuses = (StartStatus.LOST, StartStatus.RUN, StartStatus.EXPIRED, StartStatus.LATER)

    def parse(reply: Any) -> list[StartStatus]:
        return [statuses[number] for number in reply if isinstance(number, int)]

    keys = keys.with_places(map(str, args[2::4]))
    return Command("begin", keys.with_tasks(ids), args, parse, _admission(keys))


class Orphan(Struct, frozen=True):
    """A message whose holder is gone: its live stream and entry, its task, its last holder, and its charge."""

    place: str
    entry: str
    task_id: str
    raw: str
    consumer: str | bytes
    charge: str
    past: str = ""
    """The line to keep of its run (B14)."""


def restore(keys: GroupKeys, group: str, history: int, min_idle: int, orphans: Sequence[Orphan]) -> Command[int]:
    args: list[Arg] = [group, history, min_idle]
    for item in orphans:
        args += (item.place, item.entry, item.task_id, item.raw, item.consumer, item.charge, item.past)
    keys = keys.with_places(item.place for item in orphans)
    tasks = [keys.task(item.task_id) for item in orphans]
    return Command("restore", [*keys.own, keys.meta, *tasks], args, lambda reply: int(reply[0]), _admission(keys))


class Due(Struct, frozen=True):
    """What `maintain` has to do."""

    until_next: int
    """The ms until the next delayed task is due."""
    until_tick: int
    """The ms until the next schedule is."""
    has_turns: bool
    """Whether a gate has room and a line."""
    ids: Sequence[str]
    """The delayed tasks that are due."""
    expired: Sequence[str]
    """The tasks that have expired."""
    dependent: Sequence[str]
    """Some of the tasks that wait for others of their flow, if it is time to look at them."""
    suspended: Sequence[str]
    """Likewise some of those that are suspended until an event is there or their children have ended."""


def due(stream_key: str, keys: GroupKeys, limit: int) -> Command[Due]:
    def parse(reply: Any) -> Due:
        ids = [task_id.decode() for task_id in reply[3:]]
        due = [one for one in ids if one[0] not in "!?+"]
        expired, dependent, suspended = ([one[1:] for one in ids if one[0] == mark] for mark in "!?+")
        return Due(int(reply[0]), int(reply[1]), bool(reply[2]), due, expired, dependent, suspended)

    return Command("due", [*keys.own, timetable(stream_key)], [keys.group, limit], parse)


class Standing(Struct, frozen=True):
    """What can still happen to a dependent or suspended task, by a look at some of those before it, or its children."""

    noted: bytes
    """What is noted of it; empty if it is not to be looked at."""
    goes_on: bool
    """Whether one of the others has not ended."""
    lost: str
    """One of them that is in no place any more."""


def standing(keys: GroupKeys, task_id: str, before: Sequence[str]) -> Command[Standing]:
    keys = keys.whole
    args = [keys.group, task_id, *before]
    return Command(
        "standing", keys.with_tasks(before), args, lambda reply: Standing(reply[0], bool(reply[1]), reply[2].decode())
    )


def give_up(keys: GroupKeys, task_id: str, noted: bytes, lost: str) -> Command[bool]:
    return Command(
        "give_up", keys.own, [keys.group, task_id, noted, lost], lambda reply: bool(reply[0]), _admission(keys)
    )


class Unnoted(Struct, frozen=True):
    """Some tasks that wait and are noted nowhere."""

    next: str
    """Where to go on; empty at the end."""
    has_lines: bool
    """Whether some wait in lines."""
    found: Sequence[tuple[str, str]]
    """Their ids and entries."""


def unnoted(keys: GroupKeys, start: str, count: int) -> Command[Unnoted]:
    def parse(reply: Any) -> Unnoted:
        following, has_lines, *texts = reply
        ids = (text.decode() for text in texts)
        return Unnoted(following.decode(), bool(has_lines), list(zip(ids, ids, strict=True)))

    return Command("unnoted", keys.own, [keys.group, start, count], parse)


def note_again(keys: GroupKeys, found: Sequence[tuple[str, str]]) -> Command[list[str]]:
    """Returns the ids of those that were noted."""
    keys = keys.whole
    args = [keys.group, *chain.from_iterable(found)]
    tasks = keys.with_tasks([task_id for task_id, _ in found])
    return Command("note_again", tasks, args, lambda reply: [one.decode() for one in reply])


def recount(keys: GroupKeys, cursor: bytes) -> Command[tuple[bytes, int]]:
    """Returns where to go on in the lines, empty at the end, and of how many gates the tokens were counted wrong."""
    keys = keys.whole
    return Command(
        "recount",
        keys.own,
        [keys.group, cursor],
        lambda reply: (bytes(reply[0]), int(reply[1])),
        lambda reply: _admission(keys)(reply[2:]),
    )


def classes(stream_keys: Sequence[str], group: str) -> Command[tuple[int, list[tuple[frozenset[int], bool]]]]:
    """The time, and for each queue which priority classes other than 0 are in use there, and whether task names are
    paused in its group."""

    def parse(reply: Any) -> tuple[int, list[tuple[frozenset[int], bool]]]:
        now, *found = reply
        return int(now), [(read_classes(raw), names is not None) for raw, names in found]

    return Command("classes", [meta(one) for one in stream_keys], [group], parse)


def quiet(queues: Sequence[tuple[str, GroupKeys]]) -> Command[list[int]]:
    """For how many ms the maintenance of each queue has nothing to do; -1: nothing is due at any time."""
    streams = [[group.whole.places[place] for place in LIVE] for _, group in queues]
    others = [[group.lines] for _, group in queues]
    times = [[group.delayed, group.turns, group.expiries, timetable(stream_key)] for stream_key, group in queues]
    parts = streams, others, times
    keys = [key for part in parts for own in part for key in own]
    return Command("quiet", keys, [len(part[0]) for part in parts], lambda reply: [int(ms) for ms in reply])


def due_schedules(stream_key: str, limit: int, skipped: int) -> Command[tuple[int, int, list[str]]]:
    """The time, the ms until the next look, and the ids that are due, without so many at the front."""

    def parse(reply: Any) -> tuple[int, int, list[str]]:
        return int(reply[0]), int(reply[1]), [found.decode() for found in reply[2:]]

    return Command("timetable", [timetable(stream_key)], [limit, skipped], parse)


def schedules(stream_key: str, ids: Sequence[str]) -> Command[list[Fields]]:
    keys = [schedule(stream_key, one) for one in ids]
    return Command("schedules", keys, [], lambda reply: [pairs(flat) for flat in reply])


def change_schedule(stream_key: str, groups: Groups, change: ScheduleChange) -> Command[Changed]:
    def parse(reply: Any) -> Changed:
        if reply == b"GROUPS":
            raise StaleGroups("the list of groups has changed")
        return (Changed.REFUSED, Changed.DONE, Changed.OTHERWISE)[reply]

    streams = groups.streams.values()
    keys = [meta(stream_key), timetable(stream_key), schedule(stream_key, change.id)]
    keys += chain.from_iterable(group.own for group in streams)
    if change.message is not None:
        keys += [group.task(change.message.id) for group in streams]
    last = [group.task(change.unless) for group in streams] if change.otherwise is not None else []
    args: list[Arg] = [groups.version, len(streams), change.id, change.mark, change.not_before, len(last)]
    args += [group.group for group in streams]
    for one in (change.new, change.otherwise):
        fields = [] if one is None else schedule_to_fields(one)
        args += ((one and one.next_ms) or "+inf", len(fields), *fields)
    if change.message is not None:
        args += _message_args(change.message)
    return Command("schedule", [*keys, *last], args, parse)


def depth(keys: GroupKeys) -> Command[list[int]]:
    """The counts as the script has them."""

    def parse(reply: Any) -> list[int]:
        if reply == b"GROUPS":
            raise StaleGroups("a priority class is new")
        return list(map(int, reply))

    return Command("depth", [*keys.own, keys.meta], [keys.group, _numbers(keys.classes)], parse)


def retire(keys: GroupKeys, group: str, consumers: Sequence[str | bytes]) -> Command[int]:
    return Command("retire", keys.own, [group, *consumers], int)


def rewind(keys: GroupKeys, place: str) -> Command[bool]:
    return Command("rewind", [keys.places[place], keys.meta], [keys.group], bool)


def pause(keys: GroupKeys, *, repair: bool = False) -> Command[bool]:
    return Command("pause", [*keys.own, keys.meta], [keys.group, _numbers(keys.classes), int(repair)], _current)


def resume(keys: GroupKeys) -> Command[bool]:
    return Command("resume", [*keys.own, keys.meta], [keys.group, _numbers(keys.classes)], _current)


def _current(reply: Any) -> bool:
    if reply == b"GROUPS":
        raise StaleGroups("a priority class is new")
    return bool(reply)


def flags(script: str, keys: GroupKeys, first: Iterable[Arg], ids: Sequence[str]) -> Command[list[bool]]:
    """A script that returns 1 or 0 per id."""
    with_records = script in ("delete", "forget")
    script_keys = keys.with_records(ids) if with_records else keys.with_tasks(ids)
    return Command(script, script_keys, [*first, *ids], _bools_and_turns, _admission(keys))


Beyond: TypeAlias = tuple[str, bool, Message | Unreadable]
"""A failed task that a limit does not keep: its entry, whether it is too old, and what its entry says it is."""


def beyond(keys: GroupKeys, limits: FailedLimits, count: int) -> Command[list[Beyond]]:
    """The oldest failed tasks that the limits do not keep, at most `count`."""

    def parse(reply: Any) -> list[Beyond]:
        return [(entry.decode(), bool(is_old), message_in(entry, flat)) for entry, is_old, flat in reply]

    args = ["" if one is None else one for one in (limits.ttl_ms, limits.keep)]
    return Command("beyond", keys.own, [*args, count], parse)


def drop_failed(keys: GroupKeys, found: Sequence[tuple[str, str]]) -> Command[list[bool]]:
    """Delete failed tasks, given as ids and entries, that are still there."""
    ids, entries = [task_id for task_id, _ in found], [entry for _, entry in found]
    args = [keys.group, *ids, *entries]
    return Command("delete", keys.with_records(ids), args, _bools_and_turns, _admission(keys))


def expire(keys: GroupKeys, group: str, history: int, ids: Sequence[str]) -> Command[list[Expired | None]]:
    """End tasks that have expired; None for one that was not ended."""

    def parse(reply: Any) -> list[Expired | None]:
        found = [one for one in reply if not isinstance(one, bytes)]  # without the tasks whose turn it is
        return [
            Expired(task_id, one[0].decode(errors="replace")) if one else None
            for task_id, one in zip(ids, found, strict=False)
        ]

    return Command("expire", keys.with_tasks(ids), [group, history, *ids], parse, _admission(keys))


class Unknown:
    """Stands for an id that is not known."""


class Pending(Struct, frozen=True):
    """Stands for a record that may still come."""

    since_ms: int = 0
    """When it was not there (ms of the store's clock)."""


UNKNOWN = Unknown()
Look: TypeAlias = Record | Unknown | Pending
"""What a look for a record finds."""


def get(keys: GroupKeys, ids: Sequence[str], channel: str = "") -> Command[list[Look]]:
    def parse_one(task_id: str, found: Any) -> Look:
        if isinstance(found, int):
            return Pending(found) if found else UNKNOWN
        return record_from_fields(task_id, task_fields(*found)) or Pending()

    def parse(reply: Any) -> list[Look]:
        return [parse_one(task_id, found) for task_id, found in zip(ids, reply, strict=False)]  # as in `show`

    return Command("get", keys.with_records(ids, keys.meta), [keys.group, channel, *ids], parse)


def published(task_id: str, value: bytes) -> Record | None:
    """The record in a task's value that was published; None if it cannot be read. Anyone may have published it."""
    try:
        return record_from_fields(task_id, task_fields(value))
    except SerializationError:
        return None


def read(keys: GroupKeys, ids: Sequence[str], channel: str = "") -> Command[list[Look]]:
    """`get` in the result store of another broker, in which any id may still get a record."""

    def parse(reply: Any) -> list[Look]:
        return [
            record_from_fields(task_id, pairs(found)) or Pending() for task_id, found in zip(ids, reply, strict=True)
        ]

    return Command("read", with_results(keys, ids), [keys.group, channel], parse)


def put(keys: GroupKeys, records: Sequence[Record]) -> Command[list[bool]]:
    """Store records in the result store of another broker."""
    args: list[Arg] = []
    for record in records:
        fields = record_to_fields(record)
        args += (record.id, min(record.ttl_ms, MAX_TTL), record.fence, len(fields), *fields)
    return Command("put", with_results(keys, [record.id for record in records]), args, _bools)


def _shown(  # noqa: PLR0917 - in the order of the script's reply
    task_id: str,
    value: bytes,
    record: bytes,
    progress: bytes,
    entry: Sequence[bytes],
    holder: bytes,
    has_record: int,
    since: bytes,
    number: int,
) -> TaskInfo | None:
    known = task_fields(value, record)
    if progress:
        known[b"progress"] = progress
    info = task_info(task_id, known, entry, holder, has_record=bool(has_record), since=since)
    return evolve(info, gate="", line=number) if info is not None and number else info


def show(keys: GroupKeys, group: str, ids: Sequence[str]) -> Command[list[TaskInfo | None]]:
    def parse(reply: Any) -> list[TaskInfo | None]:
        found = zip(ids, reply, strict=False)  # it stops short where a task is in a class whose keys were not given
        return [None if one == 0 else _shown(task_id, *one[:8]) for task_id, one in found]

    return Command("show", keys.with_records(ids, keys.meta), [group, "", *ids], parse)


Found: TypeAlias = tuple[int, bytes, Any]
"""Of a task in a page: the number of its part, where it stands there, and its id or something of its entry."""


class Outline(Struct, frozen=True):
    """A task with the beginnings of its arguments and of its result."""

    place: str
    """The letter of its place."""
    is_held: bool
    listed: Listed


def outlines(keys: GroupKeys, group: str, ids: Sequence[str], peek: int) -> Command[list[Outline | None]]:
    """As `show`, with at most `peek` bytes of arguments and results; None for what is not known."""

    def parse(reply: Any) -> list[Outline | None]:
        return [None if one == 0 else _outline(task_id, one, peek) for task_id, one in zip(ids, reply, strict=False)]

    return Command("show", keys.with_records(ids, keys.meta), [group, peek, *ids], parse)


def _outline(task_id: str, reply: Sequence[Any], peek: int) -> Outline | None:
    info = _shown(task_id, *reply[:8])
    if info is None:
        return None
    body, whole, value = reply[8:]
    if isinstance(info.message, Unreadable):
        body, info = whole, evolve(info, message=cut_fields(info.message, peek))
    return Outline(reply[0][:1].decode(), bool(reply[4]), Listed(info, body, value if info.record else 0))


def page(
    keys: GroupKeys, parts: Sequence[tuple[str, str]], position: bytes, count: int, peek: int
) -> Command[list[Found]]:
    """The tasks of some parts of a place, from a position in the first of them on."""

    def parse(reply: Any) -> list[Found]:
        if reply == b"GROUPS":
            raise StaleGroups("a priority class is new")
        return [(number, at, what) for number, at, what in reply]

    args: list[Arg] = [keys.group, _numbers(keys.classes), count, position, peek, *chain.from_iterable(parts)]
    return Command("page", [*keys.own, keys.meta], args, parse)


def requeue(
    keys: GroupKeys, group: str, found: Sequence[tuple[str, bool]], *, rejoins: bool = False
) -> Command[list[bool]]:
    """`found`: ids, and whether their entry is unreadable. `rejoins`: failed tasks, which wait for those before them in
    their flow."""
    args: list[Arg] = [group, int(rejoins)]
    for task_id, raw in found:
        args += (task_id, "1" if raw else "")
    return Command("requeue", keys.with_records([task_id for task_id, _ in found]), args, _bools)


def _made_record(task: TaskInfo) -> Record:
    attempt = task.message.attempt if task.message else 1
    return default_record(task.id, task.status, reason=task.reason, attempt=attempt)


def adopt(keys: GroupKeys, tasks: Sequence[TaskInfo]) -> Command[list[bool]]:
    args: list[Arg] = []
    script_keys = list(keys.own)
    for task in tasks:
        script_keys += (keys.task(task.id), keys.record(task.id))
        place, ttl, value = LINES[class_of(task.message.priority if task.message else 0)][1], 0, b""
        if task.status is TaskStatus.FAILURE:
            record = task.record or _made_record(task)
            place, ttl, value = "f", min(record.ttl_ms, MAX_TTL), record_value(record)
        if isinstance(task.message, Message):
            raw, due = "", task.message.due_ms
            fields = message_to_fields(task.message if place == "f" else evolve(task.message, due_ms=0))
        else:
            raw, due, fields = "1", 0, list(chain.from_iterable(task.message.fields.items() if task.message else ()))
        args += (task.id, raw, place, task.reason, due, value, ttl, len(fields), *fields)
    return Command("adopt", script_keys, args, _bools)
