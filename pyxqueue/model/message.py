"""The frozen values that travel between producers, stores and workers.

Times are integer milliseconds of the *store's* clock; seconds exist only at the public edge.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeAlias

from attrs import field, frozen

from ..errors import ConfigurationError
from ..printable import quoted

WIRE_VERSION = 1
"""The version this release writes. A reader leaves messages and records of a newer version alone."""

ID_PATTERN = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NAME_PATTERN = re.compile(r"[\w.<>-]{1,200}")
DEDUPE_MS = 3_600_000
"""An id stays known for at least this long after its task has ended."""

Fields: TypeAlias = Mapping[bytes, bytes]
NO_HEADERS: Mapping[str, str] = {}


class TaskStatus(enum.IntEnum):
    """Where a task is. The numbers are public: they stand in records and in `get_task`."""

    PENDING = 1
    STARTED = 2
    RETRY = 3
    FAILURE = 4
    SUCCESS = 5
    CANCELLED = 6

    @property
    def ended(self) -> bool:
        """True once nothing more will happen to the task by itself."""
        return self >= TaskStatus.FAILURE


ADOPTABLE = (TaskStatus.PENDING, TaskStatus.RETRY, TaskStatus.FAILURE)
"""The states in which a task can move to another store."""


def valid_id(task_id: str) -> str:
    """Return `task_id`, or raise `ConfigurationError` if it is not 1 to 64 of ``[A-Za-z0-9_.-]``."""
    if not isinstance(task_id, str) or not ID_PATTERN.fullmatch(task_id):
        raise ConfigurationError(f"task id {quoted(task_id)} is not valid: use 1 to 64 characters of A-Z a-z 0-9 _ . -")
    return task_id


@frozen
class Message:
    """What was asked: run the task `name` with the arguments in `body`. Brokers read the header, never the body."""

    id: str
    name: str
    body: bytes = b""
    serializer: str = "json"
    attempt: int = 1
    """The number of the run this message asks for; the first is 1."""
    crashes: int = 0
    """How often the process running it died."""
    redelivered: bool = False
    """It was redelivered because its holder vanished: it runs alone, so that it can harm nothing else."""
    deferrals: int = 0
    """How often it was deferred, unrun, because whoever had it could not serve it."""
    enqueued_ms: int = 0
    """When the store accepted it (ms of the store's clock); the store stamps it."""
    delay_ms: int = 0
    """Milliseconds the store shall wait before it is due; the store turns it into `due_ms`. 0 or less is at once."""
    due_ms: int = 0
    """Not claimable before this moment (ms of the store's clock); 0 is at once."""
    expires_ms: int = 0
    """Kept, as are `priority` and `reply`; this release acts on none of them."""
    priority: int = 0
    headers: Mapping[str, str] = NO_HEADERS
    """Free text pairs (tracing, tenant); they survive retry and failure."""
    parent: str = ""
    """The id of the task that enqueued it, where one did."""
    reply: str = ""
    seal: str = ""
    """The signature over `body` and what belongs to it, written and read by the seal layer only."""
    v: int = WIRE_VERSION


@frozen
class Unreadable:
    """An entry that is no `Message`: kept byte for byte, delivered so that it can fail, never run."""

    id: str
    fields: Fields
    reason: str
    newer: bool = False
    """Its version is newer than ours: leave it for a worker that can read it."""
    # It has no header: these are what a first run would have.
    attempt: ClassVar[int] = 1
    redelivered: ClassVar[bool] = False


@frozen
class Delivery:
    """A message held under a lease. Whoever has the current `receipt` may settle it; nobody else can."""

    message: Message | Unreadable
    receipt: str
    """Opaque: only the broker that issued it reads it. Every claim issues a new one."""
    fence: int
    """Grows with every claim of the same message, so that records of two holders can be compared."""


@frozen
class Failure:
    """Why a task failed, as data: never a pickled exception."""

    type: str
    message: str
    traceback: str = ""


@frozen
class Progress:
    """How far a running task is. `total` is None when it is not known."""

    done: float = 0
    total: float | None = None
    message: str = ""


@frozen
class Record:
    """The stored end of a task."""

    id: str
    status: TaskStatus
    value: bytes = b""
    """The serialized result of a success."""
    serializer: str = "json"
    seal: str = ""
    error: Failure | None = None
    attempt: int = 1
    worker: str = ""
    ended_ms: int = 0
    """When the store accepted it (ms of the store's clock); the store stamps it."""
    progress: Progress | None = None
    ttl_ms: int = 86_400_000
    """Milliseconds the record can be read after `ended_ms`."""
    fence: int = 0
    """The `Delivery.fence` it belongs to."""
    v: int = WIRE_VERSION


@frozen
class Returned:
    """Outcome: the task returned; `value` is its serialized result."""

    value: bytes
    serializer: str = "json"


@frozen
class Raised:
    """Outcome: the task raised."""

    failure: Failure
    delay_ms: int | None = None
    """Milliseconds to wait that the task itself asked for."""
    retryable: bool = True
    """False if the exception is of a type that the task gives up on."""
    exception: BaseException | None = field(default=None, eq=False, repr=False)
    """The exception itself, for eager mode; it never travels."""


@frozen
class Rejected:
    """Outcome: the message cannot be run by anyone as it is (bad body, rejected by the task)."""

    failure: Failure


@frozen
class Unsupported:
    """Outcome: not run here, somebody else may (unknown name, unknown serializer, newer version)."""

    failure: Failure


@frozen
class Aborted:
    """Outcome: the task stopped because it was cancelled."""


Outcome: TypeAlias = Returned | Raised | Rejected | Unsupported | Aborted


@frozen
class Done:
    """Verdict: finished. The message leaves the queue for the history."""


@frozen
class Retry:
    """Verdict: run it again as the next attempt, not before `delay_ms` from the store's now."""

    delay_ms: int = 0


@frozen
class Defer:
    """Verdict: hand it back unrun, not before `delay_ms`; costs neither an attempt nor a crash. With a delay it counts
    as deferred (`Message.returns`)."""

    delay_ms: int = 0


@frozen
class Fail:
    """Verdict: nobody shall run it by itself again. Kept whole with the failed tasks, with `reason`."""

    reason: str


@frozen
class Cancelled:
    """Verdict: stopped because someone cancelled it."""


Verdict: TypeAlias = Done | Retry | Defer | Fail | Cancelled


@frozen
class Settlement:
    """The only thing that travels back to storage: what the queue decided about one delivery."""

    receipt: str
    verdict: Verdict
    record: Record | None = None
    then: Sequence[Message] = ()
    """Follow-up messages, enqueued on the same queue and group in the same atomic step."""


@frozen
class Extension:
    """Keep one delivery: move the end of its lease, and store its latest progress if there is one."""

    receipt: str
    progress: Progress | None = None


class LeaseStatus(enum.Enum):
    """The answer to an extension."""

    HELD = "held"
    LOST = "lost"
    """The receipt is not current: somebody else holds the message, or it is settled."""
    CANCEL = "cancel"
    """Still held, and someone asked for it to be cancelled."""
    CANCEL_AGAIN = "cancel again"
    """The same, and someone asked once more."""
    KILL = "kill"
    """Still held, and someone asked that it be ended whatever it does."""


class Cancellation(enum.Enum):
    """What a cancellation could promise; true unless it came too late."""

    CANCELLED = "cancelled"
    """The task had not begun, and never will."""
    REQUESTED = "requested"
    """The task runs. It is interrupted, or with `force` its process is killed, within about a second; until then it may
    still end by itself."""
    TOO_LATE = "too late"
    """The task has ended, or there is none with this id."""

    def __bool__(self) -> bool:
        return self is not Cancellation.TOO_LATE

    @classmethod
    def of(cls, accepted: bool, info: TaskInfo | None) -> Cancellation:
        """From what the store answered, and what it shows of the task now."""
        if not accepted:
            return cls.TOO_LATE
        return cls.CANCELLED if info is not None and info.status is TaskStatus.CANCELLED else cls.REQUESTED


@frozen
class TaskInfo:
    """What the store knows about one task; most of it is derived, not written."""

    id: str
    status: TaskStatus
    message: Message | Unreadable | None
    """None once the history limit has passed it by."""
    worker: str = ""
    record: Record | None = None
    progress: Progress | None = None
    updated_ms: int = 0
    reason: str = ""
    """Why it is with the failed tasks."""
    started_ms: int = field(default=0, eq=False)
    """When its holder got it, while it is held; 0 for any other, and where the store does not keep it. Not compared: a
    store that derives it rounds it again with each look."""

    def differs(self, seen: TaskInfo | None) -> bool:
        """Whether its status or progress is news to somebody who has seen `seen`."""
        return seen is None or (self.status, self.progress) != (seen.status, seen.progress)


def check_adoptable(tasks: Sequence[TaskInfo]) -> None:
    """Raise `ConfigurationError` if one of `tasks` neither waits nor failed, or its message is gone (I7)."""
    for task in tasks:
        if task.status not in ADOPTABLE or task.message is None:
            raise ConfigurationError(f"task {task.id} is {task.status.name}: only what waits or failed can be adopted")


@frozen
class ConsumerInfo:
    """One worker process as the store sees it."""

    name: str
    idle_ms: int
    """Milliseconds since the store last heard of it."""
    in_flight: Sequence[str] = field(factory=tuple)
    """Ids of the tasks it holds."""


@frozen
class Depth:
    """How much stands where, for one group."""

    ready: int
    in_flight: int
    delayed: int
    failed: int
    history: int
    """Entries in the history."""
    oldest_ms: int = 0
    """Age in ms of the longest waiting ready message."""
