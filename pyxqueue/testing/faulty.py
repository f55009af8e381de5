"""A backend in front of another that loses calls and replies, as a network does."""

from __future__ import annotations

import enum
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, ClassVar, Generic, Self, TypeVar

from attrs import frozen

from ..errors import BrokerUnavailableError
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
from ..model.schedules import Schedule
from ..protocols import (
    NO_LINES,
    Backend,
    Changed,
    DueSchedules,
    FairLines,
    HasFlows,
    LimitStore,
    ResultStore,
    ScheduleChange,
    ScheduleStore,
    TellsExpired,
    fair_lines_of,
    in_one_process,
    limits_of,
    schedules_of,
)
from ..protocols.releasing import release

T = TypeVar("T")
Inner = TypeVar("Inner")


class Fault(enum.Enum):
    """What happens to a call on its way to the store and back."""

    LOSE_CALL = "lose call"
    """It never arrives: `BrokerUnavailableError`, and nothing has happened."""
    LOSE_REPLY = "lose reply"
    """It takes effect, and its reply is lost: `BrokerUnavailableError` all the same."""
    REPEAT = "repeat"
    """It takes effect twice, and the second result is returned: a client that repeated it after a lost reply."""
    DELAY = "delay"
    """It arrives late."""


OPERATIONS = frozenset(
    {"enqueue", "claim", "settle", "extend", "release", "maintain", "lease_ms", "wait", "forget"}
    | {"show", "tasks", "watch", "consumers", "depth", "groups", "remove_group"}
    | {"requeue", "cancel", "delete", "adopt"}
)
"""Every operation that goes to the store: all but `interrupt` and `close`."""

OPTIONAL = frozenset(
    {"begin", "enqueue_unique", "enqueue_within", "is_paused", "lock_holders", "pause", "resume"}
    | {"load_steps", "save_steps", "send_event", "forget_steps", "rejoin", "drop_failed"}
    | {"add_statistics", "statistics"}
    | {"announce", "leave", "present", "give_order"}
)
"""The operations of optional protocols. A `FaultyBroker` has those that its backend has."""


@frozen
class FaultyCall:
    """One call of an operation that gets faults."""

    operation: str
    fault: Fault | None
    """None if it had no fault."""


class Faulty(Generic[Inner]):
    """Passes every call on to `inner`, or applies a fault to it.

    Parameters: `faults`, one for each call in turn, None for a call without a fault; after the last one, no call has
    any. `operations`, the names of those that get faults; others are passed on and use up none. `delay`, how long
    `Fault.DELAY` takes, in seconds. `sleep`, what is called for it: a test with a clock of its own moves the clock.

    Any number of threads may use it.
    """

    known: ClassVar[frozenset[str]]
    """The names of its operations."""

    def __init__(
        self,
        inner: Inner,
        faults: Iterable[Fault | None] = (),
        *,
        operations: Collection[str] | None = None,
        delay: float = 0.01,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if unknown := set(operations or ()) - self.known:
            raise ValueError(f"no operations of a {type(self).__name__}: {', '.join(sorted(unknown))}")
        self.inner = inner
        self.one_process = in_one_process(inner)
        self._faults = iter(faults)
        self._operations = self.known if operations is None else operations
        self._delay = delay
        self._sleep = sleep
        self._history: list[FaultyCall] = []
        self._lock = threading.Lock()

    @classmethod
    def random(
        cls,
        inner: Inner,
        *,
        seed: int,
        rate: float = 0.1,
        kinds: Sequence[Fault] = tuple(Fault),
        operations: Collection[str] | None = None,
        delay: float = 0.01,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Self:
        """Apply one of `kinds` to each call with probability `rate`. The same seed chooses the same calls."""
        return cls(inner, _at_random(seed, rate, kinds), operations=operations, delay=delay, sleep=sleep)

    @property
    def history(self) -> Sequence[FaultyCall]:
        """Every call of `operations` so far, in order, with its fault."""
        with self._lock:
            return tuple(self._history)

    def _next(self, operation: str) -> Fault | None:
        if operation not in self._operations:
            return None
        with self._lock:
            fault = next(self._faults, None)
            self._history.append(FaultyCall(operation, fault))
            return fault

    def _call(self, operation: str, call: Callable[[], T]) -> T:
        match self._next(operation):
            case Fault.LOSE_CALL:
                raise BrokerUnavailableError(f"{operation} was lost on its way to the store")
            case Fault.LOSE_REPLY:
                call()
                raise BrokerUnavailableError(f"the reply to {operation} was lost")
            case Fault.REPEAT:
                call()
            case Fault.DELAY:
                self._sleep(self._delay)
        return call()


class FaultyBroker(Faulty[Backend]):
    """A `Backend` that passes every call on to `inner`, or applies a fault to it.

    ::

        broker = FaultyBroker(backend, [None, Fault.LOSE_REPLY], operations={"settle"})  # the second settle
        broker = FaultyBroker.random(backend, seed=7, rate=0.2)
    """

    known = OPERATIONS | OPTIONAL

    def __init__(self, inner: Backend, faults: Iterable[Fault | None] = (), **options: Any) -> None:
        super().__init__(inner, faults, **options)
        for name in OPTIONAL:
            if hasattr(inner, name):
                setattr(self, name, partial(self._optional, name))
        if isinstance(inner, HasFlows):
            self.keeps_flows = True
        if isinstance(inner, TellsExpired):
            self.watch_expired = inner.watch_expired

    def _optional(self, operation: str, *args: Any) -> Any:
        return self._call(operation, lambda: getattr(self.inner, operation)(*args))

    # -- Broker

    def enqueue(self, messages: Sequence[Message]) -> Sequence[bool]:
        return self._call("enqueue", lambda: self.inner.enqueue(messages))

    def claim(self, consumer: str, limit: int, wait_ms: int) -> Sequence[Delivery]:
        return self._call("claim", lambda: self.inner.claim(consumer, limit, wait_ms))

    def settle(self, settlements: Sequence[Settlement]) -> Sequence[bool]:
        return self._call("settle", lambda: self.inner.settle(settlements))

    def extend(self, extensions: Sequence[Extension]) -> Sequence[LeaseStatus]:
        return self._call("extend", lambda: self.inner.extend(extensions))

    def release(self, consumer: str, started: Sequence[str], past: Mapping[str, str] = NO_LINES) -> int:
        return self._call("release", lambda: release(self.inner, consumer, started, past))

    def maintain(self, limit: int) -> int:
        return self._call("maintain", lambda: self.inner.maintain(limit))

    def limits(self) -> LimitStore | None:
        """The limits, without faults."""
        return limits_of(self.inner)

    def fair_lines(self) -> FairLines | None:
        """The fair lines, without faults."""
        return fair_lines_of(self.inner)

    def schedules(self) -> ScheduleStore | None:
        """The schedules without faults; `FaultySchedules` has some."""
        return schedules_of(self.inner)

    def lease_ms(self) -> int:
        return self._call("lease_ms", self.inner.lease_ms)

    def interrupt(self) -> None:
        self.inner.interrupt()

    def close(self) -> None:
        self.inner.close()

    # -- Results

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return self._call("wait", lambda: self.inner.wait(ids, timeout_ms, least))

    def forget(self, ids: Sequence[str]) -> None:
        self._call("forget", lambda: self.inner.forget(ids))

    # -- Inspector

    def show(self, ids: Sequence[str]) -> Sequence[TaskInfo | None]:
        return self._call("show", lambda: self.inner.show(ids))

    def tasks(
        self, state: TaskStatus | None = None, cursor: str = "", count: int = 100
    ) -> tuple[Sequence[TaskInfo], str]:
        return self._call("tasks", lambda: self.inner.tasks(state, cursor, count))

    def watch(self, task_id: str, seen: TaskInfo | None, timeout_ms: int | None) -> TaskInfo | None:
        return self._call("watch", lambda: self.inner.watch(task_id, seen, timeout_ms))

    def consumers(self) -> Sequence[ConsumerInfo]:
        return self._call("consumers", self.inner.consumers)

    def depth(self) -> Depth:
        return self._call("depth", self.inner.depth)

    def groups(self) -> Sequence[str]:
        return self._call("groups", self.inner.groups)

    def remove_group(self, group: str) -> None:
        self._call("remove_group", lambda: self.inner.remove_group(group))

    def requeue(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._call("requeue", lambda: self.inner.requeue(ids))

    def cancel(self, ids: Sequence[str], force: bool = False) -> Sequence[bool]:
        return self._call("cancel", lambda: self.inner.cancel(ids, force))

    def delete(self, ids: Sequence[str]) -> Sequence[bool]:
        return self._call("delete", lambda: self.inner.delete(ids))

    def adopt(self, tasks: Sequence[TaskInfo]) -> Sequence[bool]:
        return self._call("adopt", lambda: self.inner.adopt(tasks))


class FaultyResults(Faulty[ResultStore]):
    """A `ResultStore` that passes every call on to `inner`, or applies a fault to it."""

    known = frozenset({"put", "wait", "forget"})

    def put(self, records: Sequence[Record]) -> None:
        self._call("put", lambda: self.inner.put(records))

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        return self._call("wait", lambda: self.inner.wait(ids, timeout_ms, least))

    def forget(self, ids: Sequence[str]) -> None:
        self._call("forget", lambda: self.inner.forget(ids))

    def close(self) -> None:
        self.inner.close()


class FaultySchedules(Faulty[ScheduleStore]):
    """A `ScheduleStore` that passes every call on to `inner`, or applies a fault to it."""

    known = frozenset({"due", "get", "ids", "change"})
    next_look = inf

    def due(self, limit: int) -> DueSchedules:
        return self._call("due", lambda: self.inner.due(limit))

    def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
        return self._call("get", lambda: self.inner.get(ids))

    def ids(self) -> Sequence[str]:
        return self._call("ids", self.inner.ids)

    def change(self, change: ScheduleChange) -> Changed:
        return self._call("change", lambda: self.inner.change(change))


def _at_random(seed: int, rate: float, kinds: Sequence[Fault]) -> Iterator[Fault | None]:
    chance = random.Random(seed)  # noqa: S311 - the same seed must give the same faults
    while True:
        yield chance.choice(kinds) if chance.random() < rate else None
