"""Statistics: how many runs of each task had which outcome, how long they took, and how long the tasks waited for them.

What is counted of one task is a row of `COLUMNS` numbers: one for each of the `OUTCOMES`, the refused settlements, the
buckets of the runs and the sum of their times, the same of the waits, the failed tasks that were not kept, and the
tasks that a failover has lost. A store keeps such rows as text, in a fixed number of *slots*: one for the minute that
is under way, a ring of slots for the minutes before it, another ring for spans of ten minutes, and one for the totals.
When a minute is over, its rows are added to the other slots. A slot is a line with the time at which it begins (ms),
then a line for each task: its name, a tab, and its numbers that are not 0 as ``column:number``.

All functions accept whatever another program may have written into a slot, and leave out what they cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Protocol

from msgspec import Struct, field

OUTCOMES = ("success", "failure", "cancelled", "retry", "returned", "crashed", "expired")
"""What can come of a run, or of a task that was not run.

* success, failure, cancelled: the task has ended, with this status
* retry: it failed, and has an attempt left
* returned: it waits again without having failed: it is suspended, or the worker does not support it
* crashed: its process died while it ran
* expired: it ended because it had not started in time
"""
BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 15_000, 60_000, 300_000, 900_000, 1_800_000)
BOUNDS = tuple(ms / 1000 for ms in BOUNDS_MS)
"""The largest times in seconds that are counted in each bucket of a histogram but the last, which has no largest."""
BUCKETS = len(BOUNDS) + 1

REFUSED = len(OUTCOMES)
RUN = REFUSED + 1
RUN_SUM = RUN + BUCKETS
WAIT = RUN_SUM + 1
WAIT_SUM = WAIT + BUCKETS
DROPPED = WAIT_SUM + 1
LOST = DROPPED + 1
COLUMNS = LOST + 1
"""Where things are in a row: the outcomes come first; `RUN` and `WAIT` are where their buckets begin."""

MAX_NAMES = 300
"""How many tasks have a line of their own in a slot. Further ones are counted under `OTHER`."""
MAX_NAME = 255
"""The most characters of the name of a task that is not counted under `OTHER`."""
OTHER = "other"
MAX_NUMBER = 2**53 - 1
"""The largest number; a sum does not grow beyond it."""
MAX_SENDERS = 1_000
"""How many senders a store remembers, each with its last batch."""

MINUTE, TEN_MINUTES = 60_000, 600_000
MINUTES, TENS = 480, 432
"""The slots of the two rings: 8 hours, and 72 hours."""
NOW, TOTAL = "now", "total"

Row = list[int]


class Slots(Protocol):
    """The slots of a group, as texts by name."""

    def get(self, slot: str, default: str, /) -> str: ...

    def __setitem__(self, slot: str, text: str, /) -> None: ...


class Histogram(Struct, frozen=True):
    """How many times were in each bucket."""

    counts: Sequence[int] = (0,) * BUCKETS
    """One for each of `BOUNDS`, and one for longer times. Each time is counted once."""
    sum_ms: int = 0
    """The sum of all times."""

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, part: float) -> float | None:
        """Return an estimate of the time in seconds that this part (0 to 1) of all times does not exceed; None if there
        are none. It is exact to the width of a bucket, and at most the last of `BOUNDS`."""
        rank, below = part * self.count, 0
        if not self.count:
            return None
        for number, count in enumerate(self.counts[:-1]):
            if count and below + count >= rank:
                least = BOUNDS[number - 1] if number else 0.0
                return least + (BOUNDS[number] - least) * max(0.0, rank - below) / count
            below += count
        return BOUNDS[-1]


class TaskCounts(Struct, frozen=True):
    """The counts of the tasks of one name."""

    name: str
    ended: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    """How often each of the `OUTCOMES` occurred."""
    run: Histogram = Histogram()
    """How long runs took, whatever their outcome."""
    wait: Histogram = Histogram()
    """How long tasks were ready before a run."""
    refused: int = 0
    """Settlements that the store refused, because the lease was lost."""
    dropped: int = 0
    """Failed tasks that were deleted because they were too old, or too many."""
    lost: int = 0
    """Tasks that a failover has lost, as far as the programs that had enqueued them have noticed."""

    @classmethod
    def of(cls, name: str, row: Sequence[int]) -> TaskCounts:
        return cls(
            name,
            dict(zip(OUTCOMES, row, strict=False)),
            Histogram(tuple(row[RUN:RUN_SUM]), row[RUN_SUM]),
            Histogram(tuple(row[WAIT:WAIT_SUM]), row[WAIT_SUM]),
            row[REFUSED],
            row[DROPPED],
            row[LOST],
        )

    def row(self) -> Row:
        ended = [self.ended.get(outcome, 0) for outcome in OUTCOMES]
        return [
            *ended,
            self.refused,
            *self.run.counts,
            self.run.sum_ms,
            *self.wait.counts,
            self.wait.sum_ms,
            self.dropped,
            self.lost,
        ]


class Slice(Struct, frozen=True):
    """The counts that arrived at the store in one span of time."""

    start_ms: int
    length_ms: int
    tasks: Sequence[TaskCounts] = ()
    """By name."""


class Statistics(Struct, frozen=True):
    """The statistics of one group."""

    now_ms: int
    """The time, by the store's clock."""
    slices: Sequence[Slice]
    """All spans of the requested time, the oldest first. The last one is still under way."""
    totals: Sequence[TaskCounts]
    """The counts since the group exists, by name."""
    since_ms: int = 0
    """When counting began; 0 if nothing was counted yet."""
    gone: int = 0
    """How many tasks have ended because their messages were taken out of a stream by hand."""
    remade: int = 0
    """How often a program has made the group again because the store had lost it."""

    @property
    def recent(self) -> Sequence[TaskCounts]:
        """The sums of all slices, by name."""
        return summed(one for each in self.slices for one in each.tasks)

    @property
    def deaths(self) -> Sequence[tuple[str, int]]:
        """The names of tasks whose processes died in the slices, and how often. First is the one of whose runs the
        largest part ended so: others, which ran beside it, may have died with it more often."""
        died = [(one.name, one.ended.get("crashed", 0), one.run.count) for one in self.recent]
        worst = sorted((one for one in died if one[1]), key=lambda one: (-one[1] / (one[1] + one[2]), -one[1]))
        return [(name, times) for name, times, _ in worst]

    @property
    def losses(self) -> Sequence[tuple[str, int]]:
        """The names of tasks that a failover has lost in the slices, and how many, the worst first."""
        return sorted(((one.name, one.lost) for one in self.recent if one.lost), key=lambda one: -one[1])


class StatisticsBatch(Struct, frozen=True):
    """What a sender has counted since its last batch."""

    sender: str
    number: int
    """It is larger than that of any other batch of the sender. A batch that is sent again has the same."""
    tasks: Sequence[TaskCounts]


def empty_row() -> Row:
    return [0] * COLUMNS


def summed(counts: Iterable[TaskCounts]) -> list[TaskCounts]:
    """Add up what was counted of tasks with the same name."""
    rows: dict[str, Row] = {}
    for one in counts:
        add_row(rows, one.name, one.row())
    return counts_of(rows)


def counts_of(rows: Mapping[str, Row]) -> list[TaskCounts]:
    return [TaskCounts.of(name, row) for name, row in sorted(rows.items())]


def add_row(rows: MutableMapping[str, Row], name: str, row: Sequence[int]) -> None:
    """Add the numbers of a task to those that are in `rows`, or to those of `OTHER` if there is no room."""
    if name not in rows and (len(name) > MAX_NAME or len(rows) - (OTHER in rows) >= MAX_NAMES):
        name = OTHER
    known = rows.get(name)
    rows[name] = list(row) if known is None else [min(MAX_NUMBER, a + b) for a, b in zip(known, row, strict=True)]


# What is stored

_NUMBERS = re.compile(r"(\d{1,2}):(\d{1,16})(?= |$)", re.ASCII)
_TIME = re.compile(r"\d{1,15}", re.ASCII)
_ESCAPES = {"%": "%25", "\t": "%09", "\n": "%0A"}
_ESCAPED = re.compile("|".join(_ESCAPES))
_ESCAPE = re.compile("|".join(_ESCAPES.values()))
_ORIGINALS = {after: before for before, after in _ESCAPES.items()}


def line_name(name: str) -> str:
    """Return the name of a task as a line of a slot has it."""
    clean = name.encode(errors="replace").decode()  # a name may have half of a surrogate pair
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], clean)


def line_numbers(row: Sequence[int]) -> str:
    """Return the numbers of a task as a line of a slot has them."""
    return " ".join(f"{column}:{number}" for column, number in enumerate(row) if number)


def slot_text(start_ms: int, rows: Mapping[str, Row]) -> str:
    lines = [f"{line_name(name)}\t{line_numbers(row)}" for name, row in rows.items()]
    return "\n".join([str(start_ms), *lines])


def read_slot(text: str, wanted: int | None = None) -> tuple[int, dict[str, Row]]:
    """Return when a slot begins, and its rows; -1 and none for a text that is not a slot.

    `wanted`: a slot that begins at another time is of an earlier turn of the ring, and its rows are not read.
    """
    begun, *lines = text.split("\n", MAX_NAMES + 1)
    start = int(begun) if _TIME.fullmatch(begun) else -1
    rows: dict[str, Row] = {}
    if start < 0 or wanted not in (None, start):
        return start, rows
    for line in lines:
        escaped, tab, numbers = line.partition("\t")
        if tab:
            row = empty_row()
            for column, number in _NUMBERS.findall(numbers):
                if int(column) < COLUMNS:
                    row[int(column)] = min(MAX_NUMBER, int(number))
            add_row(rows, _ESCAPE.sub(lambda found: _ORIGINALS[found[0]], escaped), row)
    return start, rows


def minute_slot(start_ms: int) -> str:
    return f"m{start_ms // MINUTE % MINUTES}"


def ten_slot(start_ms: int) -> str:
    return f"t{start_ms // TEN_MINUTES % TENS}"


def add(slots: Slots, tasks: Sequence[TaskCounts], now_ms: int) -> None:
    """Add what was counted to the slots of a group."""
    minute = now_ms - now_ms % MINUTE
    start, rows = read_slot(slots.get(NOW, ""))
    if start != minute:
        if rows:
            _close(slots, start, rows)
        rows = {}
    for one in tasks:
        add_row(rows, one.name, one.row())
    slots[NOW] = slot_text(minute, rows)


def _close(slots: Slots, start: int, rows: Mapping[str, Row]) -> None:
    """Add the rows of a minute that is over to the other slots."""
    homes = ((minute_slot(start), start), (ten_slot(start), start - start % TEN_MINUTES), (TOTAL, None))
    for slot, begins in homes:
        found, there = read_slot(slots.get(slot, ""), begins)
        for name, row in rows.items():
            add_row(there, name, row)
        since = found if found >= 0 else start
        slots[slot] = slot_text(since if begins is None else begins, there)


def span(minutes: int) -> tuple[int, int]:
    """Return how long the slices are that show so many minutes, in ms, and how many they are: minutes up to
    `MINUTES` of them, then spans of ten minutes, at most `TENS`."""
    if minutes <= MINUTES:
        return MINUTE, max(1, minutes)
    return TEN_MINUTES, min(TENS, -(-minutes * MINUTE // TEN_MINUTES))


def slots_of(minutes: int, now_ms: int) -> list[str]:
    """Return the slots of the rings that show so many minutes, the oldest first."""
    length, count = span(minutes)
    name = minute_slot if length == MINUTE else ten_slot
    return [name(now_ms - length * ago) for ago in range(count - 1, -1, -1)]


def show(slots: Mapping[str, str], minutes: int, now_ms: int) -> Statistics:
    """Return what the slots of a group say about the last minutes."""
    length, count = span(minutes)
    current, rows = read_slot(slots.get(NOW, ""))
    since, totals = read_slot(slots.get(TOTAL, ""))
    slices = []
    last = now_ms - now_ms % length
    for start, slot in zip(
        range(last - length * (count - 1), last + 1, length), slots_of(minutes, now_ms), strict=True
    ):
        _, there = read_slot(slots.get(slot, ""), start)
        if rows and current - current % length == start:
            for name, row in rows.items():
                add_row(there, name, row)
        slices.append(Slice(start, length, counts_of(there)))
    for name, row in rows.items():
        add_row(totals, name, row)
    began = since if since >= 0 else current
    return Statistics(now_ms, slices, counts_of(totals), max(0, began))
