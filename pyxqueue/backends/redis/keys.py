"""Every Redis key, spelt once.

All keys of a queue are in one hash slot, as a cluster demands of a script's keys: `{name}:…` hashes like `name`.

======================= ======== ======================= ==========================================================
key                     type     written by              lives
======================= ======== ======================= ==========================================================
`name`                  stream   enqueue … settle        for ever; new messages of the first group, ready or in flight
`{name}:meta`           hash     register, pause         for ever; groups, their streams and leases, a version, the
                                                         priority classes in use, where paused groups stood, and the
                                                         task names that are paused
`{name}:timetable`      zset     schedule                for ever, if there was ever a schedule; schedules by the time
                                                         (ms) at which they are due, which is infinite for never
`{name}:schedule/ID`    hash     schedule                until the schedule is deleted; how it is defined, how far it is
`{name}:G:stream`       stream   enqueue … settle        until the group is removed; the new messages of a later group
`{name}:G:again`        stream   settle, promote, restore until the group is removed; messages that came back, ready or
                                                         in flight
`{name}:G:new:C`        stream   register, as above      as above, from the first use of the priority class C (2, 1,
`{name}:G:again:C`                                       -1, -2) on: what is new and what came back in that class
`{name}:G:delayed`      zset     enqueue … promote       while something is delayed; id by due time (ms)
`{name}:G:parked`       stream   enqueue … promote       until the group is removed; what is delayed or in a line
`{name}:G:history`      stream   settle, cancel, restore until the group is removed; messages of ended tasks, capped
`{name}:G:failed`       stream   settle                  until the group is removed; failed messages, with the reason
`{name}:G:notes`        hash     get, cancel, extend     while a task that has not ended has one: who waits for it, a
                                                         request to cancel it, its progress, when it was claimed, its
                                                         lock; and who holds a lock
`{name}:G:gates`        hash     put, limit, begin       for ever: limits; while they are out: tokens of gates; while
                                                         it counts: what rates have spent; while tasks wait in a
                                                         fair line: what was drawn, and the tags of its tenants
`{name}:G:lines`        zset     put, admit              while tasks wait for limits or in fair lines
`{name}:G:turns`        zset     leave, limit, begin     while a gate has room and a line, or a rate has spent some; by
                                                         the time (ms) at which the gate is looked at
`{name}:G:expiries`     zset     enqueue … expire        while a task that expires has not ended; its id by that time
                                                         (ms), which is infinite if it was in flight then
`{name}:G:dependents`   hash     enqueue … settle        until tasks that wait or have waited for others of their flow
                                                         end: for how many, how many doom it; while suspended tasks wait
                                                         for an event or for children: for how many
`{name}:G:statistics`   hash     add_statistics          until the group is removed; its statistics, in so many
                                                         slots at most
`{name}:G:senders`      zset     add_statistics          likewise; who has sent statistics, by the number of the last
                                                         batch, at most 2,000
`{name}:G:supervisors`  zset     announce                until the group is removed; who supervises workers, by the
                                                         time (ms) of the last announcement, of a day, at most 1,000
`{name}:G:announcements` hash    announce                likewise; for how many ms each one holds, and its text
`{name}:G:orders`       hash     give_order              likewise; the last order of each
`{name}:G:task:ID`      string   enqueue … settle        the task's life, then `max(result ttl, 1 h)`; while it is
                                                         with the failed tasks: until it is requeued or deleted
`{name}:G:record:ID`    string   settle                  the result's ttl, where the task's key outlives it
`{name}:G:window:NAME`  string   enqueue_unique          the window of a lock: the id of the task that took it
`{name}:G:result:ID`    hash     put, read               the result's ttl, or a day after the last wait for it:
                                                         the records of the tasks of another broker
======================= ======== ======================= ==========================================================

What is `parked` waits for ever if the other key that it needs, of `delayed`, `lines` and `dependents`, is deleted by
another program: `unnoted` looks for such messages from time to time.

`{name}:wake:+CLIENT` is a pub/sub channel, one for each client process that waits for results. On the channel
`{name}:G:delayed` supervisors are told when a delayed message has become the first one to be due, and in how many ms.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from ...errors import ConfigurationError
from ...printable import quoted

LAYOUT = 3
"""The version of what is stored under these keys. It is the field `layout` of `{name}:meta`; layout 1 had none."""

_NAMES = (
    "again",
    "delayed",
    "parked",
    "history",
    "failed",
    "notes",
    "gates",
    "lines",
    "turns",
    "expiries",
    "dependents",
)
"""The names of the keys of a group, after the stream of its new messages."""
LINES: Mapping[int, tuple[str, str]] = {2: ("P", "Q"), 1: ("R", "S"), 0: ("a", "n"), -1: ("T", "U"), -2: ("V", "W")}
"""The places of messages that are ready or in flight by their priority class, in the order in which they are
claimed: of those that came back, and of the new ones."""
CLASS = {place: number for number, line in LINES.items() for place in line}
"""The priority class of each of these places."""
LIVE = ("n", "a", *(place for number, line in LINES.items() if number for place in line))
"""All of them. Scripts take the streams of the first two always, and those of the others after the group's keys."""

QUEUE_PATTERN = re.compile(r"[\w.:/@-]{1,128}", re.ASCII)
GROUP_PATTERN = re.compile(r"[\w.@-]{1,64}", re.ASCII)


def check_names(stream_key: str, group: str) -> None:
    """Raise `ConfigurationError` for names that could break a key, such as one with braces."""
    if not QUEUE_PATTERN.fullmatch(stream_key):
        raise ConfigurationError(
            f"stream_key {quoted(stream_key)} is not valid: use 1 to 128 of A-Z a-z 0-9 _ . : / @ -"
        )
    if not GROUP_PATTERN.fullmatch(group):
        raise ConfigurationError(f"consumer_group {quoted(group)} is not valid: use 1 to 64 of A-Z a-z 0-9 _ . @ -")


def meta(stream_key: str) -> str:
    return f"{{{stream_key}}}:meta"


def timetable(stream_key: str) -> str:
    return f"{{{stream_key}}}:timetable"


def schedule(stream_key: str, schedule_id: str) -> str:
    """No group's name has a slash, so that this is not a key of a group."""
    return f"{{{stream_key}}}:schedule/{schedule_id}"


def later_stream(stream_key: str, group: str) -> str:
    """The stream of new messages of every group but the first."""
    return f"{{{stream_key}}}:{group}:stream"


def channel(stream_key: str, client: str) -> str:
    """The channel of a client that is told small records too, hence the `+`; an older program publishes ids alone."""
    return f"{{{stream_key}}}:wake:+{client}"


ALL_CLASSES = frozenset(LINES) - {0}


def lines_of(classes: Collection[int]) -> dict[int, tuple[str, str]]:
    """The part of `LINES` of class 0 and these classes."""
    return {number: line for number, line in LINES.items() if not number or number in classes}


def live_of(classes: Collection[int]) -> tuple[str, ...]:
    """The part of `LIVE` of class 0 and these classes."""
    return tuple(place for place in LIVE if not CLASS[place] or CLASS[place] in classes)


@frozen
class GroupKeys:
    """The keys of one group."""

    meta: str
    """The queue's own key."""
    group: str
    """The group's name, which is in all its keys except the first group's stream."""
    prefix: str
    new: str
    """The stream of new messages, ready or in flight."""
    again: str
    """The stream of messages that came back, ready or in flight."""
    delayed: str
    parked: str
    history: str
    failed: str
    notes: str
    gates: str
    lines: str
    turns: str
    expiries: str
    dependents: str
    classes: frozenset[int] = frozenset()
    """The priority classes, other than 0, that are in use."""

    @classmethod
    def of(cls, stream_key: str, group: str, stream: str, classes: frozenset[int] = frozenset()) -> GroupKeys:
        prefix = f"{{{stream_key}}}:{group}"
        others: dict[str, str] = {name: f"{prefix}:{name}" for name in _NAMES}
        return cls(meta(stream_key), group, prefix, stream, **others, classes=classes)

    @property
    def own(self) -> tuple[str, ...]:
        """The keys of the group itself, in the order in which every script takes them; if a priority class other
        than 0 is in use, the streams of all classes follow."""
        always = (
            self.new,
            self.again,
            self.delayed,
            self.parked,
            self.history,
            self.failed,
            self.notes,
            self.gates,
            self.lines,
            self.turns,
            self.expiries,
            self.dependents,
        )
        return (*always, *self.streams_of_classes) if self.classes else always

    @property
    def streams_of_classes(self) -> tuple[str, ...]:
        """The live streams of the classes other than 0, by `LIVE`. Only those of the classes in use exist."""
        return tuple(f"{self.prefix}:{kind}:{number}" for number in LINES if number for kind in ("again", "new"))

    @property
    def whole(self) -> GroupKeys:
        """The same keys, as if all classes were in use."""
        return self if self.classes else evolve(self, classes=ALL_CLASSES)

    def with_places(self, places: Iterable[str]) -> GroupKeys:
        """Keys that have the streams of these places of messages in flight."""
        return self if self.classes or {"n", "a"}.issuperset(places) else self.whole

    @property
    def places(self) -> dict[str, str]:
        """The streams in which messages are, by the letter of the place in a task's value."""
        known = {
            "n": self.new,
            "a": self.again,
            "d": self.parked,
            "g": self.parked,
            "w": self.parked,
            "h": self.history,
            "f": self.failed,
        }
        return known | dict(zip(LIVE[2:], self.streams_of_classes, strict=True)) if self.classes else known

    @property
    def task_prefix(self) -> str:
        """Followed by an id, it is the key of that task."""
        return f"{self.prefix}:task:"

    def task(self, task_id: str) -> str:
        return self.task_prefix + task_id

    def record(self, task_id: str) -> str:
        """The key of the record if the task key outlives it."""
        return f"{self.prefix}:record:{task_id}"

    @property
    def statistics(self) -> tuple[str, str]:
        """The keys of the statistics, and of those who have sent some."""
        return f"{self.prefix}:statistics", f"{self.prefix}:senders"

    def window(self, name: str) -> str:
        """The key of a lock that ends by time alone."""
        return f"{self.prefix}:window:{name}"

    def with_tasks(self, ids: Sequence[str]) -> list[str]:
        """The keys of the group and then the task key of each id."""
        prefix = self.task_prefix
        return [*self.own, *(prefix + task_id for task_id in ids)]

    def with_records(self, ids: Sequence[str], *others: str) -> list[str]:
        """The keys of the group, `others`, the task key of each id, and the record key of each."""
        prefix = self.task_prefix
        return [*self.own, *others, *(prefix + task_id for task_id in ids), *map(self.record, ids)]


def with_results(keys: GroupKeys, ids: Sequence[str]) -> list[str]:
    """The keys of a group and then, for each id, the key of its record in the result store of another broker."""
    return [*keys.own, *(f"{keys.prefix}:result:{task_id}" for task_id in ids)]


def presence_keys(keys: GroupKeys) -> tuple[str, str, str]:
    """The keys of the supervisors of a group, of what they have announced, and of their orders."""
    return f"{keys.prefix}:supervisors", f"{keys.prefix}:announcements", f"{keys.prefix}:orders"
