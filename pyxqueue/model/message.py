"""The frozen values that travel between producers, stores and workers.

Times are integer milliseconds of the *store's* clock; seconds exist only at the public edge.

Most are `msgspec.Struct` classes: they, and their instances, are made many times faster than those of attrs. `evolve`
takes both kinds.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar

import attrs
from attrs import field, frozen
from msgspec import Struct, structs

from ..errors import ConfigurationError
from ..printable import printable, quoted

WIRE_VERSION = 1
"""The wire version of most messages, and of all records. A reader leaves those of a newer version alone."""
FLOW_VERSION = 2
"""The wire version of a message that an older worker would handle wrongly, since it does not know a field of its
header. It is the newest version that is read."""

ID_PATTERN = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NAME_PATTERN = re.compile(r"[\w.<>-]{1,200}")
DEDUPE_MS = 3_600_000
"""An id stays known for at least this long after its task has ended."""

Fields: TypeAlias = Mapping[bytes, bytes]
_PRIORITY = re.compile(rb"-?[0-9]{1,16}")
NO_HEADERS: Mapping[str, str] = {}
TICK_HEADER = "pyxqueue-tick"
"""The header of a scheduled task that has the ms of its tick."""
MISSED_HEADER = "pyxqueue-missed"
"""The header that has the number of ticks since the last run that were missed or skipped; left out for none."""
RETRY_OF_HEADER = "pyxqueue-retry-of"
"""The header of a task that runs instead of a failed one, with other arguments: the id of that one."""


T = TypeVar("T")


def evolve(value: T, /, **changes: Any) -> T:
    """Return a copy of a value of this module in which some fields are changed."""
    if isinstance(value, Struct):
        return structs.replace(value, **changes)
    return attrs.evolve(value, **changes)  # type: ignore[misc] # an attrs class


class TaskStatus(enum.IntEnum):
    """The status of a task. The numbers are public: records and `get_task` contain them."""

    PENDING = 1
    STARTED = 2
    RETRY = 3
    FAILURE = 4
    SUCCESS = 5
    CANCELLED = 6

    @property
    def ended(self) -> bool:
        """True if the task has ended: only an operator can make it run again."""
        return self >= TaskStatus.FAILURE


ADOPTABLE = (TaskStatus.PENDING, TaskStatus.RETRY, TaskStatus.FAILURE)
"""The states in which a task can move to another store."""


def valid_id(task_id: str) -> str:
    """Return `task_id`, or raise `ConfigurationError` if it is not 1 to 64 of ``[A-Za-z0-9_.-]``."""
    if not isinstance(task_id, str) or not ID_PATTERN.fullmatch(task_id):
        raise ConfigurationError(f"task id {quoted(task_id)} is not valid: use 1 to 64 characters of A-Z a-z 0-9 _ . -")
    return task_id


class Message(Struct, frozen=True):
    """One call of a task: its name, and its arguments in `body`. Brokers read the header, never the body."""

    id: str
    name: str
    body: bytes = b""
    serializer: str = "json"
    attempt: int = 1
    """1, plus one for each retry. A run that is repeated because its holder was lost has the same attempt."""
    crashes: int = 0
    """How often the process that was running the task died, as far as the store can tell (B11)."""
    redelivered: bool = False
    """True if, since the last retry or requeue, a holder died while it ran the task, or its lease ended. A redelivered
    task runs alone in its process, so that it cannot harm others."""
    deferrals: int = 0
    """How often a worker gave the message back unrun because it could not serve it."""
    enqueued_ms: int = 0
    """When the store accepted the message (ms of the store's clock). The store sets it, and keeps it for a requeue."""
    delay_ms: int = 0
    """Milliseconds until the message is due; the store turns them into `due_ms`. 0 or less means at once."""
    due_ms: int = 0
    """The message cannot be claimed before this moment (ms of the store's clock); 0 means at once. The store sets it
    (B8)."""
    lifetime_ms: int = 0
    """Milliseconds until the message expires; the store turns them into `expires_ms`. 0 or less means never."""
    expires_ms: int = 0
    """The message does not start at this moment or later (ms of the store's clock); 0 means that it does not expire
    (L8)."""
    priority: int = 0
    """Which ready message is claimed first: that of the higher class (`pyxqueue.model.priorities`). It stays the same
    for the whole life of the task."""
    headers: Mapping[str, str] = NO_HEADERS
    """Pairs of text for the application (tracing, tenant); they survive retry and failure."""
    parent: str = ""
    """The id of the task that enqueued the message; empty if an application did."""
    reply: str = ""
    """Reserved: stores keep it, and this release does not act on it."""
    seal: str = ""
    """The signature over `body` and the fields it is bound to. Only the seal layer writes and reads it."""
    lock: str = ""
    """The lock that makes the task unique, as `pyxqueue.model.locks` has it; empty if it has none."""
    gates: tuple[str, ...] = ()
    """The gates of its limits, as `pyxqueue.model.limits` spells them. It is ready only with a token of each."""
    share: int = 0
    """What its start costs its tenant in a fair line, 1 or more (`pyxqueue.model.fairness`); 0 if its queue is not
    fair."""
    tenant: str = ""
    """Whose message it is, in a fair line."""
    flow: str = ""
    """The flow that the task is part of; empty for none. Each flow has another."""
    after: tuple[str, ...] = ()
    """Its predecessors, as `pyxqueue.model.flows` spells them. It is ready only when they have ended."""
    successors: tuple[str, ...] = ()
    """The edges to the tasks that wait for it, as `pyxqueue.model.flows` spells them."""
    doomed: str = ""
    """Why it must not run: the id of the predecessor that did not succeed, or how many were stored of how many. The
    store sets it (L10)."""
    past: str = ""
    """Its newest earlier runs that did not end it, one line each, as `pyxqueue.model.past` spells them (B14). They are
    for people to look at."""
    v: int = WIRE_VERSION


class Unreadable(Struct, frozen=True):
    """An entry that cannot be read as a `Message`. It is kept byte for byte, and delivered so that it can fail."""

    id: str
    fields: Fields
    reason: str
    """It quotes the entry, so it is made printable and bounded here."""
    newer: bool = False
    """True if its wire version is newer than ours; a newer worker can read it."""
    # An unreadable entry has no header. These are the values of a first run.
    attempt: ClassVar[int] = 1
    crashes: ClassVar[int] = 0
    redelivered: ClassVar[bool] = False
    share: ClassVar[int] = 0

    def __post_init__(self) -> None:
        structs.force_setattr(self, "reason", printable(self.reason))

    @property
    def priority(self) -> int:
        """What its field says: a worker that gives back a message of a newer version does not change its class."""
        raw = self.fields.get(b"priority", b"")
        return int(raw) if _PRIORITY.fullmatch(raw) else 0


class Delivery(Struct, frozen=True):
    """A claimed message. Only the holder of the current `receipt` can settle it."""

    message: Message | Unreadable
    receipt: str
    """The proof that its holder has the message. Only the broker that issued it can read it; each claim issues a new
    one."""
    fence: int
    """The fencing token: it grows with each claim of the message, so that records of two holders can be compared."""
    must_begin: bool = False
    """Whether its holder must ask the broker with `begin` just before it runs the task."""
    claimed_ms: int = 0
    """When it was claimed (ms of the store's clock); 0 if the store does not tell."""


class Failure(Struct, frozen=True):
    """Why a task failed, as text. It is never a pickled exception."""

    type: str
    message: str
    traceback: str = ""


class Progress(Struct, frozen=True):
    """How far a running task is. `total` is None when it is not known."""

    done: float = 0
    total: float | None = None
    message: str = ""


class Record(Struct, frozen=True):
    """The stored end of a task."""

    id: str
    status: TaskStatus
    value: bytes = b""
    """The serialized result of a success."""
    serializer: str = "json"
    seal: str = ""
    error: Failure | None = None
    """Why the task failed."""
    attempt: int = 1
    """The attempt that ended."""
    worker: str = ""
    """The consumer whose run ended; empty if the task ended while it waited."""
    ended_ms: int = 0
    """When the store accepted the record (ms of the store's clock). The store sets it."""
    progress: Progress | None = None
    """The last progress of the run."""
    ran_ms: int = 0
    """How long the run took that ended, in ms by its worker's clock, rounded up; 0 if nobody measured it. It began at
    `ended_ms` - `ran_ms`, or a little earlier. No seal covers it."""
    ttl_ms: int = 86_400_000
    """How many milliseconds after `ended_ms` the record can be read."""
    fence: int = 0
    """The `Delivery.fence` of the delivery that the record ends; 0 if the store created the record (B5)."""
    v: int = WIRE_VERSION


class Returned(Struct, frozen=True):
    """Outcome: the task returned; `value` is its serialized result."""

    value: bytes
    serializer: str = "json"


@frozen
class Raised:
    """Outcome: the task raised."""

    failure: Failure
    delay_ms: int | None = None
    """The retry delay that the task itself asked for, in milliseconds."""
    retryable: bool = True
    """False if the task does not retry exceptions of this type."""
    exception: BaseException | None = field(default=None, eq=False, repr=False)
    """The exception itself, for eager mode; it never travels."""


class Rejected(Struct, frozen=True):
    """Outcome: no worker can run the message as it is (unreadable body, rejected by the task)."""

    failure: Failure


class Unsupported(Struct, frozen=True):
    """Outcome: this worker cannot run the message, another may (unknown name or serializer, newer version)."""

    failure: Failure


class Aborted(Struct, frozen=True):
    """Outcome: the task stopped because it was cancelled."""


class Suspended(Struct, frozen=True):
    """Outcome: the task waits, as `verdict` says, and runs again then."""

    verdict: Suspend
    then: Sequence[Message] = ()
    """The tasks that it waits for, if it waits for some."""


Outcome: TypeAlias = Returned | Raised | Rejected | Unsupported | Aborted | Suspended


NO_STEPS: Mapping[str, bytes] = {}


class Suspend(Struct, frozen=True):
    """Verdict: the task waits, and its worker is free for others. Then it runs again, as the same attempt (L14).

    It waits until a time, until an event is there, until one of the two, or until its children have ended; without any
    of these, it is ready at once.
    """

    due_ms: int = 0
    """Until then (ms of the store's clock); 0 for no time."""
    event: str = ""
    """Until an event of this name is there."""
    flow: str = ""
    """Until those follow-ups of the settlement have ended that are part of this flow and have the task as their
    successor: its children. It goes without a time and an event."""
    steps: Mapping[str, bytes] = NO_STEPS
    """Saved in the same step."""


class Done(Struct, frozen=True):
    """Verdict: the task ended without a failure. Its message moves to the history."""


class Retry(Struct, frozen=True):
    """Verdict: run the task again as the next attempt, after `delay_ms` or later."""

    delay_ms: int = 0
    past: str = ""
    """The line to keep of the run that failed, as `pyxqueue.model.past` spells it; empty for none (B14)."""


class Defer(Struct, frozen=True):
    """Verdict: give the message back unrun, to be claimed after `delay_ms` or later. It costs neither an attempt nor a
    crash; with a delay it counts as a deferral (`Message.deferrals`)."""

    delay_ms: int = 0


class Fail(Struct, frozen=True):
    """Verdict: the task has failed. Its whole message is kept with the failed tasks, with `reason`, and does not run
    again by itself."""

    reason: str


class Cancelled(Struct, frozen=True):
    """Verdict: the task stopped because it was cancelled."""


Verdict: TypeAlias = Done | Retry | Defer | Suspend | Fail | Cancelled


class Settlement(Struct, frozen=True):
    """What a worker sends back to the store for one delivery: the verdict, the record and follow-up messages."""

    receipt: str
    verdict: Verdict
    record: Record | None = None
    then: Sequence[Message] = ()
    """Follow-up messages. The store enqueues them in the same queue and group in the same atomic step."""


class Extension(Struct, frozen=True):
    """A request to extend the lease of one delivery, and to store its latest progress if there is one."""

    receipt: str
    progress: Progress | None = None


class LeaseStatus(enum.Enum):
    """What `extend` returns for one delivery."""

    HELD = "held"
    LOST = "lost"
    """The receipt is not current: another consumer holds the message, or it is settled or reclaimed."""
    CANCEL = "cancel"
    """Still held; the task was cancelled and should be interrupted."""
    CANCEL_AGAIN = "cancel again"
    """Still held; the task was cancelled more than once."""
    KILL = "kill"
    """Still held; the task was cancelled with `force`, so its process must be killed."""


class StartStatus(enum.Enum):
    """What `begin` returns for one delivery."""

    RUN = "run"
    """The task may start now."""
    LATER = "later"
    """The store has taken the message back: the task may not start yet."""
    EXPIRED = "expired"
    """The store has ended the task: it expired before it started."""
    LOST = "lost"
    """The receipt is not current: another consumer holds the message, or it is settled or reclaimed."""


class Cancellation(enum.Enum):
    """What a request to cancel a task achieved. It is true unless the request came too late."""

    CANCELLED = "cancelled"
    """The task had not started, and will not run."""
    REQUESTED = "requested"
    """The task is running. Within about a second its worker interrupts it, or its process is killed (`force`); until
    then it may still end by itself."""
    TOO_LATE = "too late"
    """The task has ended, or the store does not know the id."""

    def __bool__(self) -> bool:
        return self is not Cancellation.TOO_LATE

    @classmethod
    def of(cls, accepted: bool, info: TaskInfo | None) -> Cancellation:
        """Return the result of a request that the store `accepted` or not, where `info` is the task after it."""
        if not accepted:
            return cls.TOO_LATE
        return cls.CANCELLED if info is not None and info.status is TaskStatus.CANCELLED else cls.REQUESTED


@frozen
class TaskInfo:
    """What the store knows about one task. Most of it is derived from where the task is."""

    id: str
    status: TaskStatus
    message: Message | Unreadable | None
    """None if the history no longer has the message."""
    worker: str = ""
    """The holder of a task in flight; the worker of the record of an ended one; empty otherwise."""
    record: Record | None = None
    """The record, while it can be read."""
    progress: Progress | None = None
    """The progress of a task in flight, or of the record."""
    updated_ms: int = 0
    """When the task came to its place, or when its holder last extended it (ms of the store's clock)."""
    reason: str = ""
    """Why the task failed, if its message is kept with the failed tasks."""
    started_ms: int = field(default=0, eq=False)
    """When its holder claimed it (ms of the store's clock); 0 if the task is not in flight or the store does not keep
    the time. It is not compared: a store that derives it rounds it differently at each read."""
    gate: str = ""
    """The gate in whose line the task waits, if a limit or a pause of its name blocks it."""
    line: int = field(default=0, eq=False)
    """Its number in the fair line in which it waits, the first is 1; 0 if it is in none. It is not compared: a store
    may have drawn the task already, of which another has not."""
    waits_for: int = 0
    """How many of its predecessors have not ended, if it waits for them; of its children, if it is suspended."""
    suspended: bool = False
    """Whether it waits because it was suspended."""
    event: str = ""
    """The event that it waits for."""

    @property
    def readable(self) -> Message | None:
        """The message; None if it cannot be read or is no longer kept."""
        return self.message if isinstance(self.message, Message) else None

    @property
    def retry_of(self) -> str:
        """The id of the failed task that it runs instead of, with other arguments; empty if there is none."""
        return self.readable.headers.get(RETRY_OF_HEADER, "") if self.readable else ""

    def differs(self, seen: TaskInfo | None) -> bool:
        """Return whether status or progress have changed since `seen`."""
        return seen is None or (self.status, self.progress) != (seen.status, seen.progress)


def enough(records: Sequence[Record | None], least: int | None) -> bool:
    """Whether a wait for `records`, or for `least` of them, is over (R2)."""
    missing = records.count(None)
    return not missing or (least is not None and len(records) - missing >= least)


def check_adoptable(tasks: Sequence[TaskInfo]) -> None:
    """Raise `ConfigurationError` if one of `tasks` neither waits nor failed, or its message is gone (I7)."""
    for task in tasks:
        if task.suspended:
            raise ConfigurationError(
                f"task {task.id} is suspended and cannot be adopted: its steps are stored here; let it end where it is"
            )
        if task.waits_for:
            raise ConfigurationError(
                f"task {task.id} waits for {task.waits_for} others of its flow and cannot be adopted: let the flow end "
                f"where it is"
            )
        if task.status not in ADOPTABLE or task.message is None:
            raise ConfigurationError(
                f"task {task.id} is {task.status.name} and cannot be adopted: adopt only tasks that wait or failed "
                f"and have their message"
            )


class ConsumerInfo(Struct, frozen=True):
    """One worker process as the store knows it."""

    name: str
    idle_ms: int
    """Milliseconds since the consumer last used the store."""
    in_flight: Sequence[str] = ()
    """The ids of the tasks it holds."""


class Depth(Struct, frozen=True):
    """How many tasks of one group are in each place."""

    ready: int
    """Tasks that a worker may claim."""
    in_flight: int
    """Tasks that a worker holds."""
    delayed: int
    """Tasks that are not due yet."""
    failed: int
    """Failed tasks that are kept with their message."""
    history: int
    """The entries in the history."""
    oldest_ms: int = 0
    """How long the ready message that has waited longest has waited, in milliseconds, since it became ready or was
    enqueued; 0 if none is ready."""
    blocked: int = 0
    """Tasks that wait for a place under a limit."""
    dependent: int = 0
    """Tasks that wait for others of their flow."""
    due: int = 0
    """Delayed tasks that are due, and that a supervisor has not made ready yet."""

    @property
    def waiting(self) -> int:
        """Tasks that are not in flight and have not ended."""
        return self.ready + self.delayed + self.blocked + self.dependent
