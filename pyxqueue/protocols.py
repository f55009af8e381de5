"""What a backend and a serializer must be: the protocols, and the numbered laws they keep.

The conformance kit in `pyxqueue.testing` tests each law under its number. The page on concepts in the documentation
defines the
words. All times are integer milliseconds of the store's clock. An operation that changes something takes a batch and
returns one answer per item, in the same order.

Errors: an operation that cannot reach its store raises `BrokerUnavailableError`; the caller may repeat it, and the
laws say what a repeat does. No operation raises because of what a *message* contains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from .model.message import (
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
    """Holds the messages of one group of one queue, and hands them out to workers under leases.

    * **B1 Idempotent.** Enqueueing an id that is known changes nothing and returns False.

      - An id is known while its task lives and for ``max(record.ttl_ms, 1 h)`` after the task ended. A failed task
        lives until it is requeued or deleted.
      - After that the id is free, even if the history still shows the old task. A new task of that id has nothing of
        the old one.
      - A message that another program writes into the store under a known id may be delivered, but `extend` returns
        LOST for it and `settle` refuses it. The task runs from its own message, and its end stays.

    * **B2 One holder.** A claimed message has one holder while its lease lasts.

      - Each claim issues a new receipt with a larger `fence`.
      - `claim` returns at most `limit` deliveries. Messages that were never claimed come in the order in which they
        were enqueued.

    * **B3 Leases end.** A message whose lease has ended becomes ready again, and any consumer may claim it, the last
      holder included.

      - The end of the lease alone does not invalidate the receipt: until `claim` or `maintain` has reclaimed the
        message, its holder may settle or extend it.

    * **B4 Fenced.** `settle` accepts a settlement only with the current receipt, and returns False otherwise.

      - A refused settlement changes nothing at all: no record, no state, no retry, no follow-up.
      - Repeating an accepted settlement is refused.

    * **B5 Atomic.** An accepted settlement takes effect in one step: the record, the verdict and the follow-ups.

      - The items of a batch are independent of each other.
      - If a task ends without a record, the store creates one, with the attempt of the message. For `Fail`, the
        failure's message in that record is the reason.

    * **B6 Extend never steals.** `extend` moves the end of the lease of the current receipt and changes nothing else.

      - It returns LOST for a receipt that is not current, because the message is settled, reclaimed or held by another
        consumer.

    * **B7 Nothing is dropped.** What was accepted stays in the store until it ends or is deleted.

      - An entry that is not a message is delivered as `Unreadable`, byte for byte.
      - A failed message keeps its bytes and its reason, and `requeue` makes it ready again.

    * **B8 Nothing early.** A delayed message cannot be claimed before it is due by the store's clock.

      - `maintain` moves a message that is due from delayed to ready in one step.

    * **B9 Groups are separate queues.** `enqueue` puts a copy into every registered group in one step. After that,
      nothing that happens in one group shows in another.

    * **B10 Progress is fenced.** Only the holder of the current receipt can write progress; the last write counts.

      - A retry clears it.
      - At the end, the record's own progress is kept or, if it has none, the last value that `extend` wrote. It can be
        read as long as the record.

    * **B11 Only what was started is charged.** What happens to a message in flight changes its counters like this and
      no other way (`pyxqueue.model.transitions` is the table in code):

      ==========================================  =======  =======  =========  ===========
      event                                       attempt  crashes  deferrals  redelivered
      ==========================================  =======  =======  =========  ===========
      Retry                                       + 1      same     same       False
      Defer without a delay                       same     same     same       same
      Defer with a delay                          same     same     + 1        same
      release, the consumer was running it        same     + 1      same       True
      release, the consumer was not running it    same     same     same       same
      lease ended, redelivered was False          same     same     same       True
      lease ended, redelivered was True           same     + 1      same       True
      ==========================================  =======  =======  =========  ===========

    * **B12 The body is opaque.** Bodies, names and headers come out byte for byte as they went in, also after a retry,
      a failure and a requeue. No broker decodes a body.

    * **B13 Bounded.** When all tasks have ended and the limits of history and records have passed, storage is back at
      a constant size, however many tasks there were.
    """

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        """Accept new messages into every registered group. Returns True for each that was new (B1, B8, B9).

        Raises `StoreFullError` if the store has no room; then no message of the batch, or only a leading part, was
        accepted.
        """
        ...

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        """Hand out at most `limit` messages to `consumer`; wait up to `wait_ms` for the first one (B2, B3)."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Apply settlements. Returns True for each that was accepted (B4, B5)."""
        ...

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        """Start the lease of each message again, and store its progress (B6, B10)."""
        ...

    def release(self, consumer: str, started: Sequence[str]) -> int:
        """Take back what a consumer that is gone still holds, and forget the consumer. Returns the number of messages
        (B11).

        `started`: the receipts of the messages that it was running when it died.
        """
        ...

    def maintain(self, limit: int) -> int:
        """Do what has come due by the store's clock: make at most `limit` delayed messages ready that are due (B8).
        Returns the ms until the next is due, or -1 for none.

        A supervisor calls it every 200 ms, and when a message comes due. A backend may also do here what
        else is due: reclaim messages whose lease has ended (B3), forget consumers that are gone, finish a removal.
        """
        ...

    def lease_ms(self) -> int:
        """The group's lease in ms, as it is stored."""
        ...

    def interrupt(self) -> None:
        """Make a `claim` that waits in another thread return now; if none waits, the next one does not wait. Any thread
        may call it.
        """
        ...

    def close(self) -> None:
        """Close connections and threads. The queue's content stays."""
        ...


class Results(Protocol):
    """The records of tasks, for callers that wait for them.

    * **R2 Wakes.** `wait` returns as soon as every id, or `least` of them, has a record; otherwise at its timeout with
      the records that there are.

      - A store that can push wakes it and is not polled. With any other, it looks again at least every 50 ms.
      - It misses no record that is stored between two looks.

    * **R3 Ends.** A record can be read for its `ttl_ms` after it was stored, and not after that.
    * **R4 Forgets exactly.** `forget` removes the records of the given ids and nothing else.
    * **R5 Order.** Records come in the order of the ids, with None where there is no record.
    """

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        """Wait up to `timeout_ms` (None: without a limit) for the records of all `ids`, or of `least` of them (R2).

        With a timeout of 0 it looks once and returns what is there.

        A backend returns before the timeout if no record can come for an id: the id is not known, or its task has
        ended and the record is gone. A `ResultStore` does not know the tasks: a record can come for any id.
        """
        ...

    def forget(self, ids: Sequence[str]) -> None: ...


class ResultStore(Results, Protocol):
    """The result half of a `pyxqueue.split.SplitBackend`: it keeps the records of tasks that are in another store.

    * **R1 Never backwards.** `put` of a record with a smaller `fence` than that of the stored record changes nothing.

      - A fencing token has up to 128 bits.
      - A record that can no longer be read does not keep another from being stored.
    """

    def put(self, records: Sequence[Record]) -> None: ...

    def close(self) -> None:
        """Close connections and threads. The records stay."""
        ...


class Inspector(Protocol):
    """Shows and changes what is stored; not part of the hot path.

    * **I1 Derived states.** A task is in exactly one place: ready, in flight, delayed, failed or history. Its status
      follows from it.

      - Ready and delayed tasks are PENDING, from the second attempt on RETRY. A task in flight is STARTED, with its
        worker. An ended task has the status of its record.
      - `started_ms` of a task in flight is when its holder claimed it; extending the lease does not change it. It is 0
        in a store that does not keep it.

    * **I2 Requeue keeps.** `requeue` makes an ended task ready under the same id, with the same bytes, as attempt 1
      without crashes and deferrals.

      - The old record is gone.
      - It returns False for a task that has not ended.

    * **I3 Cancel.** `cancel` ends a waiting task as CANCELLED at once, and tells the holder of a task in flight.

      - The holder learns it from `extend`: CANCEL, after a second request CANCEL_AGAIN, after one with `force` KILL.
        Later replies never say less.
      - If the task would wait again (Retry, Defer, a release, the end of its lease), it ends as CANCELLED instead.

    * **I4 List.** `tasks` shows each task of a state once, newest first, in pages. `depth` counts the same tasks.
    * **I5 Delete.** `delete` removes a task that is not in flight, with its record; it returns False for a task in
      flight.

      - The id can be enqueued again, even if only its deduplication entry was left.

    * **I6 Watch.** `watch` returns as soon as the status or the progress of a task differs from what the caller has
      seen.

      - It is told of progress and of the end as `wait` is (R2), and misses neither.
      - It finds any other change when it looks again, at its timeout at the latest.

    * **I7 Adopt.** `adopt` puts a task that another store showed into the same place of this group, and into no other
      group.

      - It waits, is delayed until its `due_ms`, or is failed with its reason and record. Bytes, attempt, crashes and
        deferrals stay.
      - A failed task without a record gets one, as in B5.
      - For an id that is known it changes nothing and returns False.
    """

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        """What is known about each task; None for an id that is not known, or no longer."""
        ...

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        """A page of at most `count` tasks, 1 or more, and the cursor of the next page ("" after the last one).

        `state` None lists all states. The newest is the one that came to its place last. Raises `ConfigurationError`
        for a cursor that it has not returned.
        """
        ...

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        """Wait up to `timeout_ms` until status or progress differ from `seen`; returns what `show` returns (I6)."""
        ...

    def consumers(self) -> Sequence[ConsumerInfo]:
        """The consumers of the group: each from its first claim until its release, even while it holds nothing."""
        ...

    def depth(self) -> Depth: ...

    def groups(self) -> Sequence[str]: ...

    def remove_group(self, group: str) -> None:
        """Delete a group with all its tasks. Producers stop copying into it with their next call.

        Raises `ConfigurationError` if the group does not exist.
        """
        ...

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]: ...

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        """True if the task ended at once or its holder will be told; False if it had ended or is not known."""
        ...

    def delete(self, ids: Sequence[str]) -> Sequence[bool]: ...

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        """Take in tasks as another store's `show` described them. Returns True for each that was new here (I7).

        Raises `ConfigurationError`, before anything changes, for a task that neither waits nor failed.
        """
        ...


class Backend(Broker, Results, Inspector, Protocol):
    """What the rest of the package sees of a store: all three in one object."""


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
