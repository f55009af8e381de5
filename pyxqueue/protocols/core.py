"""The protocols that a backend and a serializer implement, and the numbered laws that they must keep.

The conformance kit in `pyxqueue.testing` tests each law under its number. The page on concepts in the documentation
defines the words. All times are integer milliseconds of the store's clock. An operation that changes something takes a
batch and returns one result per item, in the same order.

Errors: an operation that cannot reach its store raises `BrokerUnavailableError`; the caller may repeat it, and the
laws say what a repeat does. No operation raises because of what a *message* contains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from ..model.message import (
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
NO_LINES: Mapping[str, str] = MappingProxyType({})


@runtime_checkable
class Serializer(Protocol):
    """Turns values into bytes and back.

    The domain of a serializer is the set of values that its documentation says it accepts.

    * **S1** ``loads(dumps(x)) == x`` with the same types, for every `x` of the domain.
    * **S2** `dumps` raises `SerializationError` for a value outside the domain; it never converts one silently.
    * **S3** `loads` raises `SerializationError`, and nothing else, for bytes that `dumps` does not write.
    * **S4** `loads` never imports, creates or calls anything that was not registered beforehand.
      (A serializer that cannot keep S4, such as pickle, sets `trusted` to False; a queue uses it only with a seal.)
    """

    name: str
    """It is stored in each message. A worker decodes a message only if it was given a serializer of that name."""
    trusted: bool
    """True if `loads` is safe on bytes from anyone (S4)."""

    def dumps(self, value: Any) -> bytes: ...

    def loads(self, data: bytes) -> Any: ...


class Broker(Protocol):
    """Holds the messages of one group of one queue, and hands them out to workers under leases.

    * **B1 Idempotent.** Enqueueing an id that is known changes nothing and returns False.

      - An id that any registered group knows is known: it is refused for all groups.
      - An id is known from the time it is enqueued until ``max(record.ttl_ms, 1 h)`` after its task has ended. The id
        of a failed task is known as long as the task is kept.
      - After that, the id can be enqueued again, even if the history still shows the old task. The new task has no
        data of the old one.
      - If another program writes a message with a known id into the store, that copy may be delivered, but `extend`
        returns LOST for it and `settle` refuses it. The task runs with the message that was accepted, and the copy
        does not change how it ended.

    * **B2 One holder.** A message in flight has one holder: the consumer whose receipt is current.

      - A receipt is current from its claim until the message is settled, released or reclaimed (B3). At most one
        receipt of a message is current; between two claims, none is.
      - Each claim issues a receipt that was never issued before, and a fencing token (`Delivery.fence`) larger than at
        every earlier claim of the same id, also after a requeue or a deletion.
      - `claim` returns at most `limit` deliveries. Each is of the highest *class* in which a message is ready: 2 for a
        `priority` of 50 or more, 1 from 1 on, 0 for 0, -1 from -49 on, -2 below that (`pyxqueue.model.priorities`).
        But every 16th delivery of a handle is of the class that has the message that became ready first: however many
        messages of higher classes are ready, this class is that of one of a handle's next 16 deliveries.
      - The class stays the same as long as the task is known. That of a message of a newer version follows from its
        field ``priority`` too. An entry that another program wrote into the store may be one of class 0.
      - A claim that waits for messages may return the one that woke it, whatever became ready together with it.
      - The ready messages of a class wait in two lines, each in the order in which its messages became ready: *new*
        ones, which are ready since they were enqueued or adopted, and those that *came back*, after a delay, a retry,
        a deferral, a release, the end of a lease or a requeue.
      - The lines of a class take turns. A handle's first delivery of the class is one that came back; after one that
        came back, the next is new; after a new one, the next is one that came back. If a line is empty, the other takes
        its turn. This goes on from claim to claim of the handle (`pyxqueue.model.turns` has both rules in code). So
        however many new messages are ready, the first that came back is one of a handle's next two deliveries of its
        class; and however many came back, at least every second delivery of a class is new while there are any.
      - `claimed_ms` of a delivery is the time of its claim by the store's clock, as closely as the broker knows it
        without asking once more for each claim; 0 if it does not know it.
      - What one call makes ready comes in the order of its items, and what was delayed in the order of `due_ms`. The
        order of messages that one step releases or reclaims is open.

    * **B3 Leases end.** A message whose lease has ended is reclaimed: it becomes ready again, and any consumer may
      claim it, also the last holder.

      - `claim` reclaims such messages before it returns any; `maintain` may reclaim them too. A backend may look for
        them at intervals.
      - The lease is stored with the group, and every handle uses the stored one (`StoreOptions.lease_ms`).
      - Until the message is reclaimed, it is in flight and its receipt is current: the holder may still settle or
        extend it.

    * **B4 Fenced.** `settle` accepts a settlement only with the current receipt, and returns False otherwise.

      - A refused settlement changes nothing at all: no record, no state, no retry, no follow-up.
      - A repeat of an accepted settlement is refused as well; False does not tell it from a receipt that was lost.

    * **B5 Atomic.** The record, the verdict and the follow-ups of an accepted settlement take effect in one atomic
      step.

      - Each settlement of a batch is accepted or refused on its own.
      - Every task has a record from the step in which it ends. If none came with that step, as when a ready task is
        cancelled, the store creates one: with the attempt of the message, the fencing token 0, and as its worker the
        holder, if the task was in flight. After `Fail`, its error contains the reason as its message.
      - The store sets `ended_ms` of every record, also of one that it adopts (I7).
      - A record that comes with Retry, Defer or Suspend is not stored.
      - The follow-ups go into the group of the settlement only.

    * **B6 Extend never steals.** `extend` starts the lease of the current receipt again, and changes nothing else
      except the progress (B10).

      - It returns LOST for a receipt that is not current, also if the same consumer has claimed the message again.

    * **B7 Nothing is dropped.** An accepted message stays in the store until its task has ended or is deleted.

      - An entry that cannot be read as a message is delivered as `Unreadable`, byte for byte.
      - The message of a failed task is kept with its bytes and the reason, and `requeue` makes it ready again.

    * **B8 Nothing early.** A delayed message cannot be claimed before it is due by the store's clock.

      - `maintain` moves a message that is due from delayed to ready in one step.
      - `due_ms` is set by the latest step that made the message ready or delayed: to the time at which the delay ends,
        or to 0 without a delay. It stays when the message is claimed. `enqueue` ignores a `due_ms` that it is given,
        and sets `delay_ms` to 0.
      - A backend with wake-ups (`HasWakeups`) sends one when a message is delayed that is due before all others.

    * **B9 Groups are separate queues.** `enqueue` puts a copy of the message into every registered group in one step;
      after that, nothing that happens in one group affects another.

      - A group is registered by the first `enqueue`, `claim`, `lease_ms` or `adopt` on a handle of it. `groups`,
        `remove_group`, `interrupt` and `close` register none; any other operation may.
      - In a group that is not registered there is no task: `settle` returns False, `extend` LOST, `release` 0.
      - `remove_group` ends the calls of `wait` and `watch` that wait for its tasks.

    * **B10 Progress is fenced.** Progress is stored only with the current receipt; a new value replaces the last one.

      - Any number comes back, also inf and nan, which JSON does not have.
      - It is removed when the message becomes ready or delayed again: by Retry, Defer, Suspend, a release, reclaiming
        or a requeue.
      - When the task ends, the store keeps the progress in the settlement's record or, if there is none, the last value
        that `extend` stored since the message was claimed. It can be read as long as the record.

    * **B11 Counters.** Each event changes the counters of a message as this table says, and in no other way
      (`pyxqueue.model.transitions` has the same table in code):

      ==========================================  =======  =======  =========  ===========
      event                                       attempt  crashes  deferrals  redelivered
      ==========================================  =======  =======  =========  ===========
      claim; Done, Fail, Cancelled                same     same     same       same
      Retry                                       + 1      same     same       False
      Defer without a delay                       same     same     same       same
      Defer with a delay                          same     same     + 1        same
      Suspend                                     same     same     same       False
      release, the consumer was running it        same     + 1      same       True
      release, the consumer was not running it    same     same     same       same
      reclaimed, redelivered was False            same     same     same       True
      reclaimed, redelivered was True             same     + 1      same       True
      requeue                                     1        0        0          False
      ==========================================  =======  =======  =========  ===========

      - An `Unreadable` entry has no counters.

    * **B12 The body is opaque.** The whole message, but for the counters and times that the store writes, is delivered
      as it was enqueued, also after a retry, a failure and a requeue. Body and headers are the same byte for byte.

      - No broker decodes a body.

    * **B14 Past.** `Message.past` has a line for each of the newest earlier runs that did not end the task.

      - Retry adds the line that it comes with, and a release the lines that it comes with to the messages of their
        receipts, charged or not; the store does not read them. The end of a lease adds one of the type `WorkerLost`
        to its message (`pyxqueue.model.past`), with the host of the consumer if a supervisor has announced it (P1).
        Nothing else adds a line.
      - There are at most 5 lines, of 2,048 bytes together; the oldest go first. An empty line, and one that is longer
        than that, are left out.
      - All else keeps them, also the end of the task and a move to another store (I7), but for requeue, which removes
        them.

    * **B13 Bounded.** When all tasks have ended, and the limits of the history and of the records have passed, the size
      of the storage does not depend on how many tasks there were.
    """

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        """Accept new messages into every registered group. Returns True for each that was new (B1, B8, B9).

        Raises `StoreFullError` if the store has no room; then none of the batch, or only its first messages, were
        accepted.
        """
        ...

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        """Hand out at most `limit` messages to `consumer`; wait up to `wait_ms` for the first one (B2, B3).

        If the reply is lost, its messages come back when their leases end; a repeat claims others.
        """
        ...

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        """Apply settlements. Returns True for each that was accepted (B4, B5)."""
        ...

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        """Start the lease of each message again, and store its progress (B6, B10)."""
        ...

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        """Make the messages of a consumer that is gone ready again, and forget the consumer (B11). Returns the number
        of messages. A consumer of that name that claims later is a new one.

        `started`: the receipts of the messages that it was running when it died; one that is not current is ignored.
        `past`: lines to keep of runs that this ends, by the receipts (B14), of those that are charged and of others. A
        backend of an older release may do without it: it is called with two arguments then.
        """
        ...

    def maintain(self, limit: int) -> int:
        """Make delayed messages ready that are due by the store's clock, at most `limit` of them (B8). Returns the ms
        until the next delayed message is due, or -1 if there is none.

        A supervisor calls it when a message becomes due, and at least every 200 ms, or as seldom as the backend's
        wake-ups allow (`HasWakeups`). A backend may also do its other upkeep here: reclaim messages whose lease has
        ended (B3), forget consumers that have not used the store for a long time, finish what `remove_group` began.
        """
        ...

    def lease_ms(self) -> int:
        """The group's lease in ms, as it is stored."""
        ...

    def interrupt(self) -> None:
        """Make a `claim` that waits in another thread return at once; if none waits, the next one does not wait: it
        may be on its way to wait. Any thread may call it.
        """
        ...

    def close(self) -> None:
        """Close connections and threads. The queue's content stays."""
        ...


class Results(Protocol):
    """The records of tasks, for callers that wait for them.

    R1 is a law of `ResultStore`.

    * **R2 Wakes.** `wait` returns as soon as every id, or `least` of them, has a record; otherwise at its timeout with
      the records that there are.

      - If the store can notify its clients, `wait` does not poll it. It polls any other store, at least every 50 ms.
      - It misses no record, whenever the record is stored.

    * **R3 Ends.** A record can be read for its `ttl_ms` (the task's `result_ttl`) after it was stored, and not after
      that.

      - It goes earlier if it is forgotten (R4), or its task is requeued (I2) or deleted (I5).

    * **R4 Forgets exactly.** `forget` removes the records of the given ids and nothing else.
    * **R5 Order.** Records come in the order of the ids, with None where there is no record.
    """

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        """Wait up to `timeout_ms` (None: without a limit) for the records of all `ids`, or of `least` of them (R2).

        With a timeout of 0 it reads the store once and returns what is there.

        A backend returns before the timeout if there will be no record for an id: the id is not known, or its task has
        ended and the record is gone. A `ResultStore` does not know the tasks, so it waits for any id.
        """
        ...

    def forget(self, ids: Sequence[str]) -> None:
        """Remove the records of these ids; ids that are not known are ignored (R4)."""
        ...


class ResultStore(Results, Protocol):
    """The part of a `pyxqueue.split.SplitBackend` that keeps the records; the tasks are in another store.

    A `SplitBackend` puts the record first and settles at the broker then, so a record of a settlement that the broker
    refuses may be stored for a while. R1 makes sure that it gives way to that of a later holder.

    * **R1 Never backwards.** `put` changes nothing if the stored record of the task has a larger `fence`, and replaces
      the stored record otherwise, also one with an equal `fence`.

      - A fencing token has up to 128 bits.
      - An expired record counts as absent.
    """

    def put(self, records: Sequence[Record]) -> None: ...

    def close(self) -> None:
        """Close connections and threads. The records stay."""
        ...


class Inspector(Protocol):
    """Shows and changes what is stored; not part of the hot path.

    * **I1 Derived states.** A task is in exactly one place (ready, in flight, delayed, failed or history), and its
      status follows from the place.

      - Ready and delayed tasks are PENDING, from the second attempt on RETRY. A task in flight is STARTED, whether it
        runs yet or not; its `worker` is the holder. An ended task has the status of its record, also after the record
        has expired.
      - A task is shown while its message or its record can be read. An id that is only known (B1) is not shown.
      - `started_ms` of a task in flight is the time at which its holder claimed it; extending the lease does not change
        it. It is 0 if the store does not keep that time.

    * **I2 Requeue keeps.** `requeue` makes an ended task ready again with the same id and the same bytes, as attempt 1
      with the other counters at their first values (B11).

      - It removes the record, the progress and the request to cancel, and keeps `enqueued_ms`.
      - It returns False for a task that has not ended, or whose message the history no longer has.

    * **I3 Cancel.** `cancel` ends a ready or delayed task as CANCELLED at once, and stores a request for a task in
      flight.

      - The holder gets the request from `extend`: CANCEL after the first, CANCEL_AGAIN after a second, KILL after one
        with `force`. While its receipt is current, a later reply is never weaker than an earlier one. A repeated call
        is another request.
      - The holder's settlement is applied as any other: after Done the task is a SUCCESS.
      - If the task would become ready or delayed again (Retry, Defer, Suspend, a release, reclaiming), it ends as
        CANCELLED instead, after its counters have changed (B11).
      - `show` does not return the request.

    * **I4 List.** `tasks` shows each task of a state once, newest first, in pages. `depth` counts the same tasks;
      `due` of the delayed ones have come to their time.
    * **I5 Delete.** `delete` removes a task that is not in flight, with its record; it returns False for a task in
      flight.

      - After that, the id can be enqueued again. This also holds if only the id was still known (B1), and the task
        itself was gone.

    * **I6 Watch.** `watch` returns as soon as the status or the progress of a task differs from what the caller has
      seen.

      - Until the task has ended, it notices progress, the end and a deletion in the way of `wait` (R2), and misses none
        of them. In the same way it notices that a task in flight becomes ready or delayed again, unless the task is
        claimed at once.
      - It may notice later, at its timeout at the latest, a claim (PENDING or RETRY to STARTED), and the requeue or
        deletion of an ended task.
      - Another holder alone is not a difference.

    * **I7 Adopt.** `adopt` puts a task that the `show` of another store returned into the same place of this group, and
      into no other group.

      - The task is then ready, delayed until its `due_ms`, or failed with its reason and record. Its bytes and all its
        counters are the same.
      - A failed task without a record gets one, as in B5.
      - For an id that is known it changes nothing and returns False.
    """

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        """Return what the store has of each task; None if it has nothing of that id."""
        ...

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        """Return a page of at most `count` tasks (1 or more), and the cursor of the next page ("" after the last one).

        `state` None lists all states. The newest task is the one that came to its place last; a claim does not count:
        a task in flight stays where it was when it became ready. Raises `ConfigurationError` for a cursor that
        `tasks` did not return.
        """
        ...

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        """Wait up to `timeout_ms` until status or progress differ from `seen`, and return what `show` returns (I6)."""
        ...

    def consumers(self) -> Sequence[ConsumerInfo]:
        """The consumers of the group: each from its first claim until its release, even while it holds nothing."""
        ...

    def depth(self) -> Depth:
        """Return how many tasks of the group are in each place (I4)."""
        ...

    def groups(self) -> Sequence[str]:
        """Return the names of the registered groups of the queue, in alphabetical order (B9)."""
        ...

    def remove_group(self, group: str) -> None:
        """Delete a group with all its tasks. Producers stop copying into it with their next call.

        Raises `ConfigurationError` if the group does not exist.
        """
        ...

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        """Make ended tasks ready again. Returns True for each that was (I2)."""
        ...

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        """Return True for each task that ended at once or for which the request is stored; False for a task that had
        ended or is not known (I3)."""
        ...

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        """Delete tasks that are not in flight. Returns True for each that was deleted (I5)."""
        ...

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        """Take in tasks as another store's `show` described them. Returns True for each that was new here (I7).

        Raises `ConfigurationError`, before anything changes, for a task that neither waits nor failed.
        """
        ...


class Backend(Broker, Results, Inspector, Protocol):
    """A store as the rest of the package uses it: a broker, results and an inspector in one object."""


def in_one_process(store: object) -> bool:
    """Return the attribute `one_process` of a store: True if no other process can use the store."""
    return bool(getattr(store, "one_process", False))


class StoreOptions(Struct, frozen=True):
    """The options with which any backend is opened."""

    stream_key: str = "tasks"
    """The queue's name."""
    group: str = "cg"
    """The group from which messages are claimed and whose results are read. It is registered when it is first used."""
    lease_ms: int | None = None
    """How long a claim or an `extend` lets the holder keep a message, in milliseconds. The lease is stored with the
    group: a number replaces the stored lease; None leaves it, and means `DEFAULT_LEASE_MS` if none is stored."""
    history: int = 10_000
    """How many ended tasks the history keeps."""


class AsyncProducer(Protocol):
    """The operations that a producer awaits in asyncio. They keep the laws of the methods of the same names."""

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
    """A backend that describes its store to an operator: what keeps the tasks, and how durably."""

    def about(self) -> Mapping[str, str]:
        """Return the facts by name, in the order in which to show them."""
        ...


@runtime_checkable
class HasQueues(Protocol):
    """A backend that lists the queues of its store for an operator."""

    def queues(self, limit: int) -> tuple[Sequence[str], bool]:
        """Return the names of at most `limit` queues, in alphabetical order, and whether these are all of them.

        It does not create a queue. In a store with much other data it stops early, and may miss queues.
        """
        ...


class Wakeups(Protocol):
    """Tells a supervisor when `maintain` is to be called earlier than it said. A supervisor forks and has one thread,
    so it waits on the file descriptor."""

    orders: int
    """How many of the wake-ups that were read said that a supervisor was given an order (`HasPresence`)."""

    def listen(self) -> int:
        """Begin to listen, or begin again after a break. Returns the longest time in ms between two calls of
        `maintain` while no wake-up comes; 0 if it does not listen now.

        A supervisor calls it after each `maintain`. The begin and the end of listening are wake-ups: what happened
        meanwhile may have been missed.
        """
        ...

    def fileno(self) -> int:
        """The file descriptor that is readable when a wake-up has come; -1 if it does not listen now."""
        ...

    def read(self) -> int:
        """Read the wake-ups that have come; it does not wait. Returns after how many ms `maintain` is to be called; -1
        if none has come."""
        ...


@runtime_checkable
class HasWakeups(Protocol):
    """A backend that tells supervisors when a message is delayed that is due before all others (B8)."""

    def wakeups(self) -> Wakeups | None:
        """Return the same object at each call; None if the store cannot do it. Closing the backend closes it."""
        ...


@runtime_checkable
class HasAsync(Protocol):
    """A backend with asyncio operations of its own; those of any other backend run in threads."""

    def asynchronous(self) -> AsyncProducer: ...
