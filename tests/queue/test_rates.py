"""Rates for applications: `Rate`, `queue.limits`, and what people see of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import fakeredis
import pytest

from pyxqueue import Concurrency, ConfigurationError, EagerSession, Rate, TaskQueue, TaskStatus, eager_mode
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.model.rates import Pace
from pyxqueue.protocols import LimitStore, StoreOptions


@pytest.fixture
def eager() -> Iterator[EagerSession]:
    with eager_mode() as session:
        yield session


def queue_of(name: str = "rates") -> TaskQueue:
    return TaskQueue("memory://", stream_key=name)


def test_calls_start_at_the_pace(eager: EagerSession) -> None:
    """A burst at once, and then one after each interval, by the clock of the session."""
    queue = queue_of()
    begin = eager.clock()
    seen: list[float] = []

    @queue.task(name="fetch", limits=[Rate(100, per=60, burst=3, name="api")])
    def fetch(page: int) -> int:
        seen.append((eager.clock() - begin) / 1000)
        return page

    handles = [fetch(page) for page in range(6)]

    assert seen == [0, 0, 0]
    assert [handle.state for handle in handles[3:]] == [TaskStatus.PENDING] * 3
    assert [handle.get() for handle in handles] == list(range(6))
    assert seen == [0, 0, 0, 0.6, 1.2, 1.8]
    assert [gate.name for gate in queue.limits.gates()] == []


def test_each_key_has_its_own_rate(eager: EagerSession) -> None:
    """One customer does not hold up another."""
    queue = queue_of()
    seen: list[int] = []

    @queue.task(name="mail", limits=Rate(1, per=timedelta(hours=1), by="customer"))
    def mail(customer: int) -> None:
        seen.append(customer)

    for customer in (1, 1, 2, 1, 2):
        mail(customer)

    assert seen == [1, 2]
    assert {gate.name: gate.waiting for gate in queue.limits.gates()} == {"rate:mail/1": 2, "rate:mail/2": 1}
    eager.advance(3_600)
    assert seen == [1, 2, 1, 2]


def test_what_is_set_counts_more_than_the_code(eager: EagerSession) -> None:
    """At once, for all keys or for one, until it is None again."""
    queue = queue_of()
    seen: list[int] = []

    @queue.task(name="mail", limits=[Rate(1, per=86_400, by="customer"), Concurrency(5)])
    def mail(customer: int) -> None:
        seen.append(customer)

    for _ in range(3):
        mail(1)
    queue.limits.set("mail", rate=1, per=10)
    eager.advance(10)
    assert seen == [1, 1]
    queue.limits.set("mail", rate=10, per=1, burst=5, key=2)
    for _ in range(6):
        mail(2)
    assert seen == [1, 1, 2, 2, 2, 2, 2]
    assert [(rate.name, str(rate.pace), rate.declared) for rate in queue.limits.rates()] == [
        ("mail", "1 per 10 s, 1 at once", Pace(1, 86_400_000_000)),
        ("mail/2", "10 per 1 s, 5 at once", None),
    ]
    queue.limits.set("mail", rate=None, key=2)
    queue.limits.set("mail", rate=None)
    assert [rate.pace for rate in queue.limits.rates()] == [Pace(1, 86_400_000_000)]
    assert [limit.number for limit in queue.limits.list()] == [5]


def test_a_rate_of_zero_stops(eager: EagerSession) -> None:
    """Nothing starts until it is set to another one."""
    queue = queue_of()

    @queue.task(name="mail", limits=[Rate(0, per=1)])
    def mail() -> None: ...

    handle = mail()
    eager.advance(1_000)
    states = [handle.state]
    queue.limits.set("mail", rate=1, per=1)
    assert [*states, handle.state] == [TaskStatus.PENDING, TaskStatus.SUCCESS]


def test_what_a_task_waits_for(eager: EagerSession) -> None:
    """`explain` names the rate and its pace."""
    queue = queue_of()

    @queue.task(name="mail", limits=[Rate(2, per=60)])
    def mail() -> None: ...

    mail()
    told = queue.admin.explain(mail().task_id)

    assert told.reasons[0] == "the rate mail lets no more tasks start now: 2 per 60 s, 1 at once"


def test_several_tasks_share_a_rate(eager: EagerSession) -> None:
    """The slowest of the paces that one program declares counts."""
    queue = queue_of()

    @queue.task(name="a", limits=[Rate(10, per=1, name="api")])
    def a() -> None: ...

    @queue.task(name="b", limits=[Rate(5, per=1, name="api")])
    def b() -> None: ...

    handles = a(), b()
    assert [handle.state for handle in handles] == [TaskStatus.SUCCESS, TaskStatus.PENDING]
    eager.advance(1)
    assert handles[1].state is TaskStatus.SUCCESS


class OnlyLimits:
    """The limits of a store, without its rates."""

    def __init__(self, limits: LimitStore) -> None:
        self.declare, self.set = limits.declare, limits.set
        self.numbers, self.gates = limits.numbers, limits.gates


def test_a_store_without_rates_refuses() -> None:
    """With an error that says so, at the first call and for `set`."""

    class Plain(MemoryBackend):
        def limits(self) -> LimitStore:  # type: ignore[override] # without rates
            return OnlyLimits(super().limits())

    queue = TaskQueue(broker=Plain(MemoryStore(), StoreOptions()))

    @queue.task(name="mail", limits=[Rate(1, per=1)])
    def mail() -> None: ...

    with pytest.raises(ConfigurationError, match="Plain cannot keep rates"):
        mail()
    with pytest.raises(ConfigurationError, match="cannot keep rates"):
        queue.limits.set("mail", rate=1, per=1)
    assert queue.limits.rates() == ()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Rate("1", per=60), "whole number of tasks"),  # type: ignore[arg-type] # a wrong one
        (lambda: Rate(-1, per=60), "whole number of tasks"),
        (lambda: Rate(1, per=0), "from a millisecond to a year"),
        (lambda: Rate(1, per=True), "from a millisecond to a year"),
        (lambda: Rate(1, per=float("nan")), "from a millisecond to a year"),
        (lambda: Rate(1, per=60, burst=0), "1 or more"),
        (lambda: Rate(1, per=86_400 * 365, burst=100), "slower than one in 35 years"),
        (lambda: Rate(1, per=60, name="a/b"), "letters, digits"),
    ],
)
def test_a_wrong_rate_is_refused(make: object, said: str) -> None:
    """Where it is made."""
    assert callable(make)
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("store", ["file", "server"])
def test_rates_in_a_store(tmp_path: Path, store: str) -> None:
    """What a call has declared is shown, and the calls above the burst wait."""
    file = f"sqlite:///{tmp_path / 'rates.db'}"
    queue = TaskQueue(file if store == "file" else fakeredis.FakeRedis(protocol=2), stream_key="rates")

    @queue.task(name="mail", limits=[Rate(1, per=3_600, burst=2, by="customer"), Concurrency(5)])
    def mail(customer: int) -> None: ...

    handles = [mail(7) for _ in range(3)]

    assert {gate.name: (gate.used, gate.waiting) for gate in queue.limits.gates()} == {
        "mail/": (2, 0),
        "rate:mail/7": (2, 1),
    }
    assert [(rate.name, str(rate.pace)) for rate in queue.limits.rates()] == [("mail", "1 per 3600 s, 2 at once")]
    assert [limit.name for limit in queue.limits.list()] == ["mail"]
    assert "the rate mail/7 lets no more tasks start now" in str(queue.admin.explain(handles[2].task_id))
    queue.admin.cancel(handles[2].task_id)
    assert [gate.waiting for gate in queue.limits.gates()] == [0, 0]


def test_half_a_rate_cannot_be_set(eager: EagerSession) -> None:
    """`set` says what is missing."""
    queue = queue_of()
    with pytest.raises(ConfigurationError, match="needs the length of its period"):
        queue.limits.set("api", rate=5)  # type: ignore[call-overload] # a wrong call
    with pytest.raises(ConfigurationError, match="needs either concurrency="):
        queue.limits.set("api")  # type: ignore[call-overload] # a wrong call
    with pytest.raises(ConfigurationError, match="the rate cannot be set"):
        queue.limits.set("api", rate=5, per=0)


def test_an_unknown_parameter_is_refused() -> None:
    """At decoration, as with `Concurrency`."""
    queue = queue_of()
    with pytest.raises(ConfigurationError, match="by= of Rate names 'customer'"):

        @queue.task(name="mail", limits=[Rate(1, per=1, by="customer")])
        def mail(user: int) -> None: ...
