"""What a backend and a serializer must be: four protocols, and the numbered laws they keep.

The conformance kit in `pyxqueue.testing` has one test of the same number for every law here. All times are integer
milliseconds of the store's clock. Every operation that changes something takes and answers a batch; answers keep order.

Errors: an operation that cannot reach its store raises `BrokerUnavailableError` and may be repeated by the caller; the
laws say what a repeat does. No operation raises because of what a *message* contains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from .message import (
    ConsumerInfo,
    Delivery,
    Depth,
    Extension,
    LeaseStatus,
    Message,
    Record,
    Settlement,
    TaskInfo,
    TaskStatus,
)

DEFAULT_LEASE_MS = 30_000


@runtime_checkable
class Serializer(Protocol):
    """Turns values into bytes and back.

    * **S1** ``loads(dumps(x)) == x`` with the same types, for every `x` of the declared domain.
    * **S2** `dumps` raises `SerializationError` for a value outside the domain; it never changes one to fit.
    * **S3** `loads` raises `SerializationError`, and nothing else, for bytes that `dumps` does not write.
    * **S4** `loads` never imports, creates or calls anything that was not registered beforehand.
      (A serializer that cannot keep S4, such as pickle, sets `trusted` to False and is only used under a seal.)
    """

    name: str
    """Travels in the message header; a worker decodes only with a serializer of this name that it was given."""
    trusted: bool
    """True if `loads` is safe on bytes from anyone (S4)."""

    def dumps(self, value: Any) -> bytes: ...

    def loads(self, data: bytes) -> Any: ...


class Broker(Protocol):
    """Holds the messages of one group of one queue, and lends them to workers.

    * **B1 Idempotent.** A second `enqueue` of an id changes nothing and answers False, for as long as the task lives
      and for ``max(record.ttl_ms, 1 h)`` after it ended. Then the id is free, also where the history still shows the
      task:
      `enqueue` begins another one, which has nothing of the first. What is with the failed tasks lives, however old
      it is, until it is requeued or deleted.
      The same holds for a message that another program writes into the store under such an id. It may be delivered,
      but it is LOST and each settlement of it is refused; the task runs from its own message, and its end stays.
    * **B2 One holder.** What `claim` handed out is handed to nobody else while its lease lasts. Every claim issues a
      new receipt, with a larger `fence`. `claim` never answers more than `limit`; first deliveries come in the order
      of their enqueue.
    * **B3 Leases end.** When a lease has ended, `claim` hands the message out again, also to the consumer that held
      it. The end alone refuses nothing: until a `claim` or `promote` has taken the message back, the old receipt
      still settles and extends.
    * **B4 Fenced.** `settle` accepts a settlement only from the current receipt, and answers False otherwise. A
      refused settlement changes nothing at all: no record, no state, no retry, no follow-up.
    * **B5 Atomic.** An accepted settlement takes effect in one step: the record (where broker and result store are
      one object), the verdict and the follow-ups. Items are independent of each other; a repeat is refused.
      An end without a record has the one that its holder put before, else it gets one; that of a failure has the
      reason as its failure's message.
    * **B6 Extend never steals.** `extend` moves the end of the lease of the current receipt and nothing else: never
      the holder, never the receipt, nor a message that is settled or held by another (LOST).
    * **B7 Nothing is dropped.** An entry that is no message is delivered as `Unreadable`. What fails keeps its
      bytes and its reason, and `requeue` brings it back.
    * **B8 Nothing early.** A message with a delay is claimable from its due time by the store's clock, not before;
      `promote` moves it from delayed to ready in one step.
    * **B9 Groups are separate queues.** `enqueue` puts one copy into every registered group. From there on nothing
      that happens in one group shows in another.
    * **B10 Progress is fenced.** Only the current receipt writes it; the last write wins; a retry starts without;
      the value in the settlement's record is the last and stays readable with the record; where it has none, the
      last that was written is.
    * **B11 Only what was started is charged.** Retry: `attempt` + 1, and `redelivered` no more; crashes and deferrals
      stay. Return: nothing, but with a delay `deferrals` + 1.
      `release`: `crashes` + 1 and `redelivered` for what was started, nothing for the rest. A lease that ended:
      `redelivered`; if it already was a redelivered task, `crashes` + 1.
    * **B12 The body is opaque.** Bodies, names and headers come out byte for byte as they went in, also after a
      retry, a failure and a requeue. No broker decodes a body.
    * **B13 Bounded.** When every task has ended and the history and record limits have passed, nothing is left but
      what is independent of how many tasks there were.
    """

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        """Accept new messages, into every registered group. True for each that was new (B1, B8, B9).

        Raises `StoreFullError` if the store has no room; then none, or a leading part, of the batch was accepted.
        """
        ...

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        """Lend at most `limit` messages to `consumer`, waiting up to `wait_ms` for the first (B2, B3)."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Apply what was decided. True for each that was accepted (B4, B5)."""
        ...

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        """Start the lease of each held message again, and store its progress (B6, B10)."""
        ...

    def release(self, consumer: str, started: Sequence[str]) -> int:
        """Take back all that a consumer which is gone still holds, and forget the consumer; answers how many (B11).

        `started` are the receipts it was running when it died; each is charged a crash.
        """
        ...

    def promote(self, limit: int) -> int:
        """Make at most `limit` due messages ready; answers the ms until the next is due, or -1 for none (B8)."""
        ...

    def lease_ms(self) -> int:
        """The group's lease in ms, as it is stored."""
        ...

    def interrupt(self) -> None:
        """Make a `claim` that waits, in another thread, answer now; if none does, the next one will not wait. May be
        called from any thread."""
        ...

    def close(self) -> None:
        """Let go of connections and threads. The queue's content stays."""
        ...


class ResultStore(Protocol):
    """Keeps records for those who wait for them.

    * **R1 Never backwards.** `put` of a record whose `fence` is lower than the stored one's changes nothing. A
      fencing token has up to 128 bits.
    * **R2 Wakes.** `wait` answers as soon as every id has a record, or `least` of them, else at its timeout with what
      there is. A store that can push wakes it, and is not polled; at one that cannot, it looks again after 50 ms at the
      latest. No record is missed because it came between two looks.
    * **R3 Ends.** A record can be read for its `ttl_ms` after it was stored, and not after.
    * **R4 Forgets exactly.** `forget` removes the records of the ids it is given and nothing else.
    * **R5 Order.** Answers are in the order of the ids asked for, None where there is no record.
    """

    def put(self, records: Sequence[Record]) -> None: ...

    def get(self, ids: Sequence[str]) -> Sequence[Record | None]: ...

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        """Wait up to `timeout_ms` (None: without limit) for the records of all `ids`, or of `least` of them (R2).

        Where the store also is the broker, it answers before the timeout if for an id nothing can come: it is not
        known, or its task has ended and the record is gone.
        """
        ...

    def forget(self, ids: Sequence[str]) -> None: ...

    def close(self) -> None:
        """Let go of connections and threads. The records stay."""
        ...


class Inspector(Protocol):
    """Administration, apart from the hot path.

    * **I1 Derived states.** Waiting is PENDING, or RETRY from the second attempt on; held is STARTED with its worker;
      ended is what its record says. A task is in exactly one of ready, held, delayed, failed, finished.
      `started` of a held one is when its holder got it, whatever was extended since, or 0 where that is not kept.
    * **I2 Requeue keeps.** `requeue` of a failed or finished task makes it ready under the same id, with the same
      bytes, as attempt 1 without crashes and deferrals. The old record is gone. It is refused (False) for one still
      under way.
    * **I3 Cancel.** A waiting task ends CANCELLED at once; of a held one the holder learns it from `extend`: CANCEL,
      after a second request CANCEL_AGAIN, after one with `force` KILL, and never less than before. If it would wait
      again (Retry, Defer, a release, the end of its lease), it ends CANCELLED instead.
    * **I4 List.** `tasks` shows each task of a state once, newest first, in pages; `depth` counts the same.
    * **I5 Delete.** `delete` removes a task that is not held, with its record, and is refused for a held one.
      The id is free again, also where nothing but the id was still known.
    * **I6 Watch.** `watch` answers as soon as a task's status or progress differs from what was seen; it learns
      of progress and of the end as `wait` does (R2), and misses neither. Any other change it finds when it looks again,
      at its timeout at the latest.
    * **I7 Adopt.** `adopt` puts a task that another store showed into this group and no other, where it stood there:
      waiting, delayed until its `due_ms`, or failed with its reason and record; bytes, attempt, crashes and
      deferrals stay. A failure without a record gets one, as in B5.
      An id that is known is refused (False), and nothing changes.
    """

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        """What is known about each task; None where nothing is, or no longer."""
        ...

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        """A page of at most `count` tasks, 1 or more, and the cursor of the next page ("" after the last).

        `state` None is all states. Newest first means: last put in its place. Raises `ConfigurationError` for a cursor
        it has not answered.
        """
        ...

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        """Wait up to `timeout_ms` until status or progress differ from `seen`; answers what `show` does (I6)."""
        ...

    def consumers(self) -> Sequence[ConsumerInfo]:
        """Who works for the group: each from its first claim until its release, also while it holds nothing."""
        ...

    def depth(self) -> Depth: ...

    def groups(self) -> Sequence[str]: ...

    def remove_group(self, group: str) -> None:
        """Delete a group with all that is in it. Producers stop copying into it with their next call.

        Raises `ConfigurationError` if there is no such group.
        """
        ...

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]: ...

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        """True where the task ended at once or its holder will learn of it; False if it had ended or is unknown."""
        ...

    def delete(self, ids: Sequence[str]) -> Sequence[bool]: ...

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        """Take in tasks as another store's `show` described them; True for each that was new here (I7).

        Raises `ConfigurationError`, before anything is changed, for a task that neither waits nor failed.
        """
        ...

    def trim(self, limit: int) -> int:
        """Drop the oldest finished tasks from the history until `limit` are left; answers how many."""
        ...


class Backend(Broker, ResultStore, Inspector, Protocol):
    """A store that is all three in one object, so that a settlement can be one atomic step (B5)."""


def in_one_process(store: object) -> bool:
    """Whether a store says, by its attribute `one_process`, that no other process can share it."""
    return bool(getattr(store, "one_process", False))


@frozen
class StoreOptions:
    """What a backend is opened with, whichever it is."""

    stream_key: str = "tasks"
    """The queue's name."""
    group: str = "cg"
    """The group this side enqueues for, claims from and reads results of; it is registered at first use."""
    lease_ms: int | None = None
    """Milliseconds a claimed message stays with its holder without a sign of life. It is stored with the group; a
    value given here replaces the stored one, None takes what is stored, else `DEFAULT_LEASE_MS`."""
    history: int = 10_000
    """How many finished messages can still be looked at."""


class AsyncProducer(Protocol):
    """What a producer awaits, for asyncio; the laws are those of the methods of the same names."""

    async def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]: ...

    async def wait(
        self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None
    ) -> Sequence[Record | None]: ...

    async def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]: ...

    async def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None: ...

    async def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]: ...

    async def forget(self, ids: Sequence[str]) -> None: ...


@runtime_checkable
class HasAbout(Protocol):
    """A backend that can say what it keeps its tasks in, and how safely, for people."""

    def about(self) -> Mapping[str, str]:
        """Facts by name, in the order in which they are shown."""
        ...


@runtime_checkable
class HasQueues(Protocol):
    """A backend that can say which queues its store keeps, for people who look."""

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        """Names of at most `limit` queues, in the order of the alphabet, and whether these are all. Looking makes no
        queue, and ends soon in a store that is full of other things: it may then miss some."""
        ...


@runtime_checkable
class HasAsync(Protocol):
    """A backend with an asyncio side of its own; any other is called in threads."""

    def asynchronous(self) -> AsyncProducer: ...
