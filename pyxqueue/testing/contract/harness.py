"""What a backend author supplies, and the small steps the laws are tested with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from attrs import evolve

from ...message import (
    Cancelled,
    Defer,
    Delivery,
    Done,
    Extension,
    Fail,
    Failure,
    LeaseStatus,
    Message,
    Progress,
    Record,
    Retry,
    Settlement,
    TaskInfo,
    TaskStatus,
    Unreadable,
    Verdict,
)
from ...protocols import Backend
from .laws import Law

T = TypeVar("T")

MINUTE = 60_000
VERDICTS: Sequence[Verdict] = (Done(), Retry(), Retry(delay_ms=5_000), Defer(), Fail("no use"), Cancelled())
EVERY_BYTE = bytes(range(256)) * 3
_TAKES_ROOT = 0.05


class Harness(Protocol):
    """One fresh, empty queue, as the kit wants to handle it. Make a new one for every test.

    Most backends need some ten lines for it; `pyxqueue.testing.memory.MemoryHarness` is an example.
    """

    lease: int
    """Milliseconds of the lease that `open` gives the group when it is not told another. With a server whose clock
    goes on by itself, use 10,000 or more, so that no lease ends between two calls."""

    def open(self, group: str = "cg", *, history: int = 100, lease: int | None = None) -> Backend:
        """A new handle on the queue, with these `StoreOptions`; `lease` None means the harness's own.

        A backend with a safety margin of its own before it takes work from a silent holder switches it off here.
        """
        ...

    def advance(self, ms: int) -> None:
        """Make leases, delays, lifetimes of records and ids all `ms` older, without sleeping if you can.

        Move the store's clock, or move the times that are stored.
        """
        ...

    def inject(self, fields: Mapping[bytes, bytes], group: str = "cg") -> str:
        """Put a raw entry on the ready line of a registered group, as a foreign producer would.

        Answers the id by which an entry without a valid id of its own is known. A store that cannot hold two entries of
        one id ignores an entry whose id is known.
        """
        ...

    def footprint(self) -> int:
        """How many keys, rows or entries the store holds, without the list of groups, the history and the failed."""
        ...


class Call(Generic[T]):
    """A call that runs in another thread, so that one which hangs fails the test instead of stopping it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._answers: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers.append(self._function())
        except BaseException as error:  # noqa: BLE001 - it is raised again in `answer`
            self._error = error

    def waits(self, seconds: float = _TAKES_ROOT) -> bool:
        """True if the call has not answered, after it was given the time to start waiting."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def answer(self, patience: float, law: Law, complaint: str) -> T:
        """What the call answers; after `patience` seconds without an answer `law` is broken."""
        __tracebackhide__ = True
        self._thread.join(patience)
        if self._error is not None:
            raise self._error
        if not self._answers:
            raise law.broken(complaint)
        return self._answers[0]


class Contract:
    """Base of the contracts. A subclass supplies the pytest fixture `harness`, new for every test."""

    patience: float = 10.0
    """Seconds after which a call that should have answered is taken to hang. It bounds failures only."""


def job(task_id: str, **header: object) -> Message:
    """A message whose body no text codec can read."""
    header.setdefault("body", EVERY_BYTE)
    return Message(task_id, "kit.job", **header)  # type: ignore[arg-type]


def jobs(count: int, prefix: str = "t", **header: object) -> list[Message]:
    return [job(f"{prefix}{number:03}", **header) for number in range(count)]


def ids_of(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


def take(backend: Backend, limit: int = 100, consumer: str = "one") -> Sequence[Delivery]:
    """Claim what is ready or due now, without waiting."""
    backend.promote(256)
    return backend.claim(consumer, limit, 0)


def drain(backend: Backend, limit: int, consumer: str = "one") -> list[Delivery]:
    """Claim again and again until nothing is left, but not for ever."""
    found: list[Delivery] = []
    for _ in range(200):
        batch = take(backend, limit, consumer)
        found += batch
        if not batch:
            break
    return found


def take_exactly(backend: Backend, count: int, law: Law, consumer: str = "one") -> Sequence[Delivery]:
    """Claim everything that is ready or due, which must be `count` tasks."""
    __tracebackhide__ = True
    deliveries = take(backend, 100, consumer)
    law.same(len(deliveries), count, f"how many tasks could be claimed: {ids_of(deliveries)}")
    return deliveries


def take_one(backend: Backend, law: Law, consumer: str = "one") -> Delivery:
    """Claim the only task that is ready or due."""
    __tracebackhide__ = True
    return take_exactly(backend, 1, law, consumer)[0]


def held(backend: Backend, law: Law, task_id: str = "a", consumer: str = "one", **header: object) -> Delivery:
    """A new task, held by `consumer`."""
    __tracebackhide__ = True
    backend.enqueue([job(task_id, **header)])
    return take_one(backend, law, consumer)


def readable(delivery: Delivery, law: Law) -> Message:
    __tracebackhide__ = True
    if isinstance(delivery.message, Unreadable):
        raise law.broken(f"a message was delivered as unreadable: {delivery.message.reason}")
    return delivery.message


def record(delivery: Delivery, status: TaskStatus = TaskStatus.SUCCESS, **fields: object) -> Record:
    """The record that a worker makes for a delivery."""
    if status is TaskStatus.FAILURE:
        fields.setdefault("error", Failure("ValueError", "no", "Traceback: …"))
    elif status is TaskStatus.SUCCESS:
        fields.setdefault("value", EVERY_BYTE)
    return Record(delivery.message.id, status, fence=delivery.fence, worker="one", **fields)  # type: ignore[arg-type]


def done(delivery: Delivery, then: Sequence[Message] = (), **fields: object) -> Settlement:
    return Settlement(delivery.receipt, Done(), record(delivery, **fields), then)  # type: ignore[arg-type]


def fail(delivery: Delivery, reason: str = "no use", **fields: object) -> Settlement:
    return Settlement(delivery.receipt, Fail(reason), record(delivery, TaskStatus.FAILURE, **fields))


def decided(delivery: Delivery, verdict: Verdict, then: Sequence[Message] = ()) -> Settlement:
    """A settlement with the record that belongs to the verdict."""
    match verdict:
        case Done():
            return done(delivery, then)
        case Fail():
            return Settlement(delivery.receipt, verdict, record(delivery, TaskStatus.FAILURE), then)
        case Cancelled():
            return Settlement(delivery.receipt, verdict, record(delivery, TaskStatus.CANCELLED), then)
        case _:
            return Settlement(delivery.receipt, verdict, None, then)


def settled(backend: Backend, law: Law, *settlements: Settlement) -> None:
    """Settle what must be accepted."""
    __tracebackhide__ = True
    law.same(
        list(backend.settle(settlements)), [True] * len(settlements), "the current holder's settlement was refused"
    )


def extended(backend: Backend, delivery: Delivery, progress: Progress | None = None) -> LeaseStatus:
    return backend.extend([Extension(delivery.receipt, progress)])[0]


def info(backend: Backend, task_id: str, law: Law) -> TaskInfo:
    """What `show` says about a task that must be known."""
    __tracebackhide__ = True
    return law.there(backend.show([task_id])[0], f"task {task_id!r} is not known")


def all_tasks(backend: Backend, state: TaskStatus | None = None, count: int = 100) -> list[TaskInfo]:
    """Every page of `tasks`, one after the other."""
    found: list[TaskInfo] = []
    cursor, turns = "", 0
    while turns == 0 or (cursor and turns < 1_000):
        page, cursor = backend.tasks(state, cursor, count)
        found += page
        turns += 1
    return found


def counts(backend: Backend) -> tuple[int, int, int, int, int]:
    """Ready, held, delayed, failed and finished."""
    depth = backend.depth()
    return depth.ready, depth.in_flight, depth.delayed, depth.failed, depth.history


def photo(backend: Backend, *ids: str) -> object:
    """Everything that can be seen of a group, without what changes only because time goes by."""
    tasks = all_tasks(backend)
    known = sorted({*ids, *(task.id for task in tasks)})
    shown = [task and evolve(task, updated_ms=0) for task in backend.show(known)]
    holders = {consumer.name: tuple(consumer.in_flight) for consumer in backend.consumers() if consumer.in_flight}
    return counts(backend), [task.id for task in tasks], shown, list(backend.get(known)), holders
