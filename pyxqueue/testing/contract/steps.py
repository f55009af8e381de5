"""The steps that the tests of the laws are made of, and the values that they use. Your own tests may use them too.

* Make something: `job`, `gated`, `jobs`, `many`, `claimed`, `stale`, `groups`, `alike`.
* Do something: `take`, `drain`, `extended`, `patiently`; `limited`, `Call`, `waiting` and `relay` in another thread.
* Say what a worker decided: `done`, `fail`, `retry`, `defer`, `decided`.
* Do something that must succeed, or the law is broken: `claims`, `take_one`, `take_exactly`, `settled`, `once_each`.
* Look: `tokens`, `info`, `all_tasks`, `counts`, `places`, `photo`, `ids_of`, `values`.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence
from threading import Barrier, Semaphore
from typing import Generic, TypeVar

from attrs import evolve

from ...model import message as m
from ...model.rates import Pace
from ...model.transitions import ENDS
from ...protocols import Backend, LimitStore, RateStore, Wakeups, limits_of, rates_of
from .harness import Harness
from .laws import Law

T = TypeVar("T")
MINUTE = 60_000
VERDICTS: Sequence[m.Verdict] = (
    m.Done(),
    m.Retry(),
    m.Retry(delay_ms=5_000),
    m.Defer(),
    m.Fail("no use"),
    m.Cancelled(),
)
EVERY_BYTE = bytes(range(256)) * 3
SECONDS_TO_START = 0.05
"""After which a call is taken to be waiting."""
SECONDS_TO_LOOK = 0.005
"""After which a call has usually looked once, and waits."""
TURNS = 40
"""How many waits follow each other in a `relay`: a store that is polled every 50 ms takes 2 s for them."""
MANY = 1_100
"""More than the items that an engine takes, returns or binds in one call; 1,000 is the usual limit."""
DAY = 24 * 60 * MINUTE
LONG = 60 * DAY
"""In ms; too large for 32 bits."""
RICH = m.Message(
    "rich",
    "pkg.Klasse.<locals>.größe",
    EVERY_BYTE,
    serializer="other",
    expires_ms=9_999_999_999_999,
    priority=-7,
    headers={"trace": "00-4bf9\n", "größe": "\u2028 ü", "empty": "", "": "no name"},
    parent="the-parent",
    reply="somewhere else",
    seal="00ff",
    lock="f00112233445566778899aabbccddeeff",
    gates=("pkg.größe/%C3%A9~", "other/"),
    share=500,
    tenant="%C3%A9~",
    flow="the-flow",
    successors=("f:one", "c:two", "w:three"),
)
ALIKE = ["abc", "a.c", "aXc", "A_C", "a_c", "a_cd", "a_c.tmp", "ab", "a", ".a", "007", "7"]
"""Ids that a pattern, a prefix or a comparison without case takes for one another."""
MEANT = ["a_c", "a.c", "a", "7"]
"""Those of `ALIKE` that an operation is given; it must not touch the others, `SPARED`."""
SPARED = [task_id for task_id in ALIKE if task_id not in MEANT]


class Call(Generic[T]):
    """A call that runs in another thread, so that a call that hangs fails the test instead of stopping it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._returned: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._returned.append(self._function())
        except BaseException as error:  # noqa: BLE001 - it is raised again in `result`
            self._error = error

    def waits(self, seconds: float = SECONDS_TO_START) -> bool:
        """Return whether the call has not returned after `seconds`."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def result(self, patience: float, law: Law, complaint: str) -> T:
        """Return what the call returned; if it takes longer than `patience` seconds, `law` is broken."""
        __tracebackhide__ = True
        self._thread.join(patience)
        if self._error is not None:
            raise self._error
        if not self._returned:
            raise law.broken(complaint)
        return self._returned[0]


def waiting(law: Law, function: Callable[[], T]) -> Call[T]:
    """Start a call that must wait."""
    __tracebackhide__ = True
    call = Call(function)
    if not call.waits():
        raise law.broken(f"a call that had to wait returned {call.result(0, law, '')!r}")
    return call


def heard(wakeups: Wakeups, patience: float, law: Law, complaint: str) -> int:
    """Return what the next wake-up says; if none comes within `patience` seconds, `law` is broken."""
    __tracebackhide__ = True
    deadline = time.monotonic() + patience
    while select.select([wakeups.fileno()], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if (ms := wakeups.read()) >= 0:
            return ms
        if time.monotonic() > deadline:
            break
    raise law.broken(complaint)


def job(task_id: str, **header: object) -> m.Message:
    """A message; its body has every byte, which no text codec can read."""
    header.setdefault("body", EVERY_BYTE)
    return m.Message(task_id, "kit.job", **header)  # type: ignore[arg-type]


def jobs(count: int, prefix: str = "t", **header: object) -> list[m.Message]:
    return [job(f"{prefix}{number:03}", **header) for number in range(count)]


NAMES = [message.id for message in jobs(MANY)]


def gated(task_id: str, *gates: str, **header: object) -> m.Message:
    """A message with these gates."""
    return job(task_id, gates=gates, v=m.FLOW_VERSION, **header)


def limited(backend: Backend, **numbers: int) -> LimitStore | None:
    """The limits of a backend, in which these numbers are set; None if it has none."""
    if (limits := limits_of(backend)) is not None:
        for name, number in numbers.items():
            limits.set(name, number)
    return limits


def paced(backend: Backend, **paces: Pace) -> RateStore | None:
    """The rates of a backend, in which these paces are set; None if it has none."""
    if (rates := rates_of(backend)) is not None:
        for name, pace in paces.items():
            rates.set_rate(name, pace)
    return rates


def tokens(limits: LimitStore) -> dict[str, tuple[int, int]]:
    """By gate, how many of its tokens are out, and how many tasks wait there."""
    return {gate.name: (gate.used, gate.waiting) for gate in limits.gates(1_000)}


def ids_of(deliveries: Sequence[m.Delivery]) -> list[str]:
    return [delivery.message.id for delivery in deliveries]


def take(backend: Backend, limit: int = 100, consumer: str = "one") -> Sequence[m.Delivery]:
    """Claim at most `limit` messages that are ready or due, without waiting."""
    backend.maintain(256)
    return backend.claim(consumer, limit, 0)


def drain(backend: Backend, limit: int, consumer: str = "one") -> list[m.Delivery]:
    """Claim until the queue is empty, at most 200 times."""
    found: list[m.Delivery] = []
    for _ in range(200):
        batch = take(backend, limit, consumer)
        found += batch
        if not batch:
            break
    return found


def groups(harness: Harness, *names: str) -> list[Backend]:
    """A backend for each of these groups, all of which are registered."""
    found = [harness.open(name) for name in names]
    for backend in found:
        take(backend)
    return found


def take_exactly(backend: Backend, count: int, law: Law, consumer: str = "one") -> Sequence[m.Delivery]:
    """Claim everything that is ready or due, which must be `count` tasks."""
    __tracebackhide__ = True
    deliveries = take(backend, 100, consumer)
    law.same(len(deliveries), count, f"how many tasks could be claimed: {ids_of(deliveries)}")
    return deliveries


def take_one(backend: Backend, law: Law, consumer: str = "one") -> m.Delivery:
    """Claim the only task that is ready or due."""
    __tracebackhide__ = True
    return take_exactly(backend, 1, law, consumer)[0]


def claims(backend: Backend, law: Law, wanted: Sequence[str], what: str, consumer: str = "one") -> None:
    """Claim everything that is ready or due, which must be the tasks `wanted`, in this order."""
    __tracebackhide__ = True
    law.same(ids_of(take(backend, consumer=consumer)), list(wanted), what)


def claimed(backend: Backend, law: Law, task_id: str = "a", consumer: str = "one", **header: object) -> m.Delivery:
    """A new task that `consumer` has claimed."""
    __tracebackhide__ = True
    backend.enqueue([job(task_id, **header)])
    return take_one(backend, law, consumer)


def readable(delivery: m.Delivery, law: Law) -> m.Message:
    __tracebackhide__ = True
    if isinstance(delivery.message, m.Unreadable):
        raise law.broken(f"a message was delivered as unreadable: {delivery.message.reason}")
    return delivery.message


def record(delivery: m.Delivery, status: m.TaskStatus = m.TaskStatus.SUCCESS, **fields: object) -> m.Record:
    """The record that a worker makes for a delivery."""
    if status is m.TaskStatus.FAILURE:
        fields.setdefault("error", m.Failure("ValueError", "no", "Traceback: …"))
    elif status is m.TaskStatus.SUCCESS:
        fields.setdefault("value", EVERY_BYTE)
    return m.Record(delivery.message.id, status, fence=delivery.fence, worker="one", **fields)  # type: ignore[arg-type]


def done(delivery: m.Delivery, then: Sequence[m.Message] = (), **fields: object) -> m.Settlement:
    return m.Settlement(delivery.receipt, m.Done(), record(delivery, **fields), then)  # type: ignore[arg-type]


def fail(delivery: m.Delivery, reason: str = "no use", **fields: object) -> m.Settlement:
    return m.Settlement(delivery.receipt, m.Fail(reason), record(delivery, m.TaskStatus.FAILURE, **fields))


def retry(delivery: m.Delivery, delay_ms: int = 0) -> m.Settlement:
    return m.Settlement(delivery.receipt, m.Retry(delay_ms))


def defer(delivery: m.Delivery, delay_ms: int = 0) -> m.Settlement:
    return m.Settlement(delivery.receipt, m.Defer(delay_ms))


def decided(delivery: m.Delivery, verdict: m.Verdict, then: Sequence[m.Message] = ()) -> m.Settlement:
    """A settlement with the record that belongs to the verdict."""
    status = ENDS.get(type(verdict))
    return m.Settlement(delivery.receipt, verdict, None if status is None else record(delivery, status), then)


def settled(backend: Backend, law: Law, *settlements: m.Settlement) -> None:
    """Settle; each settlement must be accepted."""
    __tracebackhide__ = True
    law.same(
        list(backend.settle(settlements)), [True] * len(settlements), "the current holder's settlement was refused"
    )


def extended(backend: Backend, delivery: m.Delivery, progress: m.Progress | None = None) -> m.LeaseStatus:
    return backend.extend([m.Extension(delivery.receipt, progress)])[0]


def info(backend: Backend, task_id: str, law: Law) -> m.TaskInfo:
    """What `show` says about a task that must be known."""
    __tracebackhide__ = True
    return law.there(backend.show([task_id])[0], f"task {task_id!r} is not known")


def all_tasks(backend: Backend, state: m.TaskStatus | None = None, count: int = 100) -> list[m.TaskInfo]:
    """Every page of `tasks`, one after the other."""
    found: list[m.TaskInfo] = []
    cursor, turns = "", 0
    while turns == 0 or (cursor and turns < 1_000):
        page, cursor = backend.tasks(state, cursor, count)
        found += page
        turns += 1
    return found


def counts(backend: Backend) -> tuple[int, int, int, int, int]:
    """How many tasks are ready, in flight, delayed, failed and in the history."""
    depth = backend.depth()
    return depth.ready, depth.in_flight, depth.delayed, depth.failed, depth.history


def places(backend: Backend, law: Law, when: str = "", **wanted: int) -> None:
    """In each place there must be as many tasks as `wanted` says; in a place that it does not name, none."""
    __tracebackhide__ = True
    names = ("ready", "in_flight", "delayed", "failed", "history")
    seen = dict(zip(names, counts(backend), strict=True))
    law.same(seen, {**dict.fromkeys(names, 0), **wanted}, f"how many tasks are in each place {when}".rstrip())


def photo(backend: Backend, *ids: str) -> object:
    """Everything that can be seen of a group, without what changes as time passes."""
    tasks = all_tasks(backend)
    known = sorted({*ids, *(task.id for task in tasks)})
    shown = [task and evolve(task, updated_ms=0) for task in backend.show(known)]
    holders = {consumer.name: tuple(consumer.in_flight) for consumer in backend.consumers() if consumer.in_flight}
    return counts(backend), [task.id for task in tasks], shown, list(backend.wait(known, 0)), holders


def patiently(backend: Backend) -> list[m.Delivery]:
    """Claim until something comes: a backend may return from a long wait early, but it must wait."""
    for _ in range(1_000):
        if found := backend.claim("one", 1, 60 * MINUTE):
            return list(found)
    return []


def stale(backend: Backend, harness: Harness, law: Law, consumer: str) -> tuple[m.Delivery, m.Delivery]:
    """A delivery whose lease ended, and the later one of the same task to `consumer`."""
    __tracebackhide__ = True
    old = claimed(backend, law)
    harness.advance(harness.lease + 1)
    return old, take_one(backend, law, consumer)


def after_a_lease(backend: Backend, harness: Harness) -> Sequence[m.Delivery]:
    """Let every lease end, and claim."""
    harness.advance(harness.lease + 1)
    return take(backend)


def result(task_id: str, value: bytes = EVERY_BYTE, fence: int = 5, **fields: object) -> m.Record:
    return m.Record(task_id, m.TaskStatus.SUCCESS, value, fence=fence, **fields)  # type: ignore[arg-type]


def values(records: Sequence[m.Record | None]) -> list[bytes | None]:
    return [None if record is None else record.value for record in records]


def many(backend: Backend, law: Law) -> list[str]:
    """Enqueue `MANY` messages; return their ids."""
    __tracebackhide__ = True
    accepted = list(backend.enqueue(jobs(MANY, body=b"")))
    law.same(accepted.count(True), MANY, f"how many of {MANY} messages were accepted in one batch")
    return NAMES


def once_each(
    law: Law, patience: float, handles: Sequence[Backend], act: Callable[[Backend, T], bool], items: Sequence[T]
) -> None:
    """Call `act` for each item on all handles at the same time; it must return True for one of them."""
    __tracebackhide__ = True
    together = Barrier(len(handles))

    def one(handle: Backend, item: T) -> bool:
        together.wait()
        return act(handle, item)

    def start(handle: Backend) -> Call[list[bool]]:
        return Call(lambda: [one(handle, item) for item in items])

    calls = [start(handle) for handle in handles]
    results = [call.result(patience, law, "one of several calls at the same time does not return") for call in calls]
    counted = [sum(each) for each in zip(*results, strict=True)]
    law.same(counted, [1] * len(items), "how many of the calls at the same time returned True for each item")


def alike(harness: Harness) -> Backend:
    """A backend in which the tasks `ALIKE` are ready."""
    backend = harness.open()
    backend.enqueue([job(task_id) for task_id in ALIKE])
    return backend


def relay(
    law: Law,
    patience: float,
    complaint: str,
    wait: Callable[[int], object],
    act: Callable[[int], object],
) -> None:
    """Call `wait(0)`, `wait(1)`, … one after the other; each returns because of `act` with the same number, which
    another thread calls once the wait has begun. All of them must return within `patience`."""
    __tracebackhide__ = True
    begins = Semaphore(0)

    def follow() -> None:
        for turn in range(TURNS):
            begins.release()
            wait(turn)

    def lead() -> None:
        for turn in range(TURNS):
            begins.acquire(timeout=patience)
            follower.waits(SECONDS_TO_LOOK)
            act(turn)

    follower = Call(follow)
    for call in (Call(lead), follower):
        call.result(patience, law, complaint)
