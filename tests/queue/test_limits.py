"""Limits for applications: `Concurrency`, `queue.limits`, and what people see of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pyxqueue import Concurrency, ConfigurationError, TaskQueue, TaskStatus
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.model.limits import GATE_PATTERN, gate_key
from pyxqueue.model.message import FLOW_VERSION, WIRE_VERSION
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import drain


def opened(folder: Path) -> TaskQueue:
    return TaskQueue(f"sqlite:///{folder / 'limits.db'}", stream_key="limits")


def gates(queue: TaskQueue) -> dict[str, tuple[int, int | None, int]]:
    return {gate.name: (gate.used, gate.limit, gate.waiting) for gate in queue.limits.gates()}


def test_calls_with_the_same_key_wait(tmp_path: Path) -> None:
    """Each value of the parameter has places of its own; the code's number is stored with the first call."""
    queue = opened(tmp_path)

    @queue.task(name="render", limits=[Concurrency(2, by="customer")])
    def render(customer: int, page: int = 0) -> None: ...

    handles = [render(7, page) for page in range(3)] + [render(customer=8)]

    assert gates(queue) == {"render/7": (2, 2, 1), "render/8": (1, 2, 0)}
    assert [handle.state for handle in handles] == [TaskStatus.PENDING] * 4
    depth = queue.admin.info().depth
    assert depth is not None
    assert (depth.ready, depth.blocked) == (3, 1)
    info = queue.admin.task(handles[2].task_id).info
    assert info.gate == "render/7"
    assert info.readable is not None
    assert info.readable.v == FLOW_VERSION
    assert "the limit render/7 has no room: 2 of 2 tokens are taken, about 0 before it in its line" in str(
        queue.admin.explain(handles[2].task_id)
    )


def test_the_place_in_the_line_of_a_gate(tmp_path: Path) -> None:
    """Tasks that wait at another gate do not count; a limit of 0 is said."""
    queue = opened(tmp_path)

    @queue.task(name="render", limits=[Concurrency(1, by="customer")])
    def render(customer: int) -> None: ...

    handles = render.map([(customer,) for _ in range(4) for customer in (7, 8)])
    third = handles[6].task_id

    assert queue.admin.explain(third).reasons[0].endswith("1 of 1 tokens are taken, about 2 before it in its line")
    queue.limits.set("render", concurrency=0, key=7)
    assert "the limit render/7 is 0: nothing starts until" in str(queue.admin.explain(third))


def test_a_task_without_limits_is_written_as_before(tmp_path: Path) -> None:
    """Its message has the first wire version and no gates."""
    queue = opened(tmp_path)

    @queue.task(name="plain")
    def plain() -> None: ...

    message = queue.admin.task(plain().task_id).info.readable

    assert message is not None
    assert (message.v, message.gates) == (WIRE_VERSION, ())
    assert gates(queue) == {}


def test_several_limits_on_one_task(tmp_path: Path) -> None:
    """It waits for all of them, and a limit with a name is shared by tasks."""
    queue = opened(tmp_path)

    @queue.task(name="train", limits=[Concurrency(1, name="gpu"), Concurrency(5, by=("user", "project"))])
    def train(user: str, project: str) -> None: ...

    @queue.task(name="infer", limits=Concurrency(1, name="gpu"))
    def infer() -> None: ...

    train("ann", "a b")
    infer()

    assert gates(queue) == {"gpu/": (1, 1, 1), "train/ann%2Ca%20b": (1, 5, 0)}


def test_several_values_are_told_apart(tmp_path: Path) -> None:
    """Pairs that look alike in one text have gates of their own, and `set` takes a pair as well."""
    queue = opened(tmp_path)

    @queue.task(name="build", limits=[Concurrency(1, by=("team", "model"))])
    def build(team: str, model: str) -> None: ...

    @queue.task(name="check", limits=[Concurrency(1, by=lambda team, model: (team, model))])
    def check(team: str, model: str) -> None: ...

    pairs = [("a,b", "c"), ("a", "b,c"), ("a\\", "b,c"), ("a\\,b", "c"), ("a", "b")]
    for pair in pairs:
        build(*pair)
        queue.limits.set("build", concurrency=2, key=pair)
    queue.limits.set("check", concurrency=3, key=("a", "b"))
    check("a", "b")

    found = gates(queue)
    assert found.pop("check/a%2Cb") == (1, 3, 0)
    assert list(found.values()) == [(1, 2, 0)] * len(pairs)
    assert "build/a%2Cb" in found


def test_a_function_makes_the_key(tmp_path: Path) -> None:
    """It gets the arguments as they were given."""
    queue = opened(tmp_path)

    @queue.task(name="mail", limits=[Concurrency(1, by=lambda to: to.rpartition("@")[2])])
    def mail(to: str) -> None: ...

    mail.map([("a@example.org",), ("b@example.org",), ("c@example.com",)])

    assert gates(queue) == {"mail/example.org": (1, 1, 1), "mail/example.com": (1, 1, 0)}


def test_from_asyncio(tmp_path: Path) -> None:
    """The number is stored with the first call there, too."""
    queue = opened(tmp_path)

    @queue.task(name="one", limits=[Concurrency(1)])
    def one() -> None: ...

    async def call() -> None:
        await one.aenqueue()
        await one.aenqueue()

    asyncio.run(call())

    assert gates(queue) == {"one/": (1, 1, 1)}


def test_what_an_operator_sets_counts_more(tmp_path: Path) -> None:
    """It counts until it is set to None, whatever the code declares."""
    queue = opened(tmp_path)

    @queue.task(name="one", limits=[Concurrency(1, by="key")])
    def one(key: object) -> None: ...

    one.map([(1,), (1,), (1,), ("a b",), ("a b",)])
    queue.limits.set("one", concurrency=2)
    queue.limits.set("one", concurrency=0, key="a b")

    assert gates(queue) == {"one/1": (2, 2, 1), "one/a%20b": (2, 0, 0)}
    assert [(limit.name, limit.number, limit.declared) for limit in queue.limits.list()] == [
        ("one", 2, 1),
        ("one/a%20b", 0, None),
    ]
    queue.limits.set("one", concurrency=None)
    queue.limits.set("one", concurrency=None, key="a b")
    assert [(limit.name, limit.number) for limit in queue.limits.list()] == [("one", 1)]


def test_the_lines_of_paused_tasks_are_not_among_the_first_gates() -> None:
    """They are before those of limits, in alphabetical order."""
    queue = TaskQueue(broker=MemoryBackend(MemoryStore(), StoreOptions()))
    one = queue.task(name="one", limits=[Concurrency(9, name="x", by="key")])(lambda key: key)
    one.map([(key,) for key in range(4)])
    for number in range(5):
        queue.admin.pause(task=f"late{number}")
        queue.task(name=f"late{number}")(lambda: None)()
    drain(queue)
    one.map([(key,) for key in range(4)])

    assert len(queue.stores.backend.limits().gates(100)) == 9  # type: ignore[attr-defined] # each store has it
    for limit, wanted in ((0, 0), (1, 1), (3, 3), (4, 4), (1_000, 4)):
        assert [gate.name for gate in queue.limits.gates(limit)] == [f"x/{key}" for key in range(wanted)]


def test_purging_leaves_no_line(tmp_path: Path) -> None:
    """Blocked tasks are purged like others that wait."""
    queue = opened(tmp_path)

    @queue.task(name="one", limits=[Concurrency(1)])
    def one() -> None: ...

    one.map([()] * 5)

    assert queue.admin.purge(waiting=True) == 5
    assert gates(queue) == {}


def test_eager_tasks_wait_for_a_limit_of_zero() -> None:
    """In eager mode tasks run one after the other; a limit of 0 holds them back, and a larger one lets them run."""
    queue = TaskQueue(eager=True)
    ran = []

    @queue.task(name="one", limits=[Concurrency(1, by="key")])
    def one(key: int) -> None:
        ran.append(key)

    one(1)
    queue.limits.set("one", concurrency=0)
    one(2)
    assert ran == [1]
    queue.limits.set("one", concurrency=1)
    assert ran == [1, 2]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Concurrency(-1), r"Concurrency\(-1\): the number must be a whole number of tasks, 0 or more"),
        (lambda: Concurrency(True), "must be a whole number of tasks"),
        (lambda: Concurrency(1, by=()), "must be the name of a parameter"),
        (lambda: Concurrency(1, by=5), "by=5 must be the name of a parameter"),  # type: ignore[arg-type] # wrong on purpose
        (lambda: Concurrency(1, name="a/b"), "must be 1 to 200 letters"),
    ],
)
def test_a_limit_that_is_not_valid(make: Callable[[], object], said: str) -> None:
    """The error says what to write."""
    with pytest.raises((TypeError, ValueError), match=said):
        make()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ([Concurrency(1, by="custumer")], "names 'custumer', which job does not have; its parameters are customer"),
        ([Concurrency(1), Concurrency(2)], "two limits of the task itself: give each a name="),
        ([Concurrency(1, name="a"), Concurrency(2, name="a")], "two limits a: give each a name="),
        (3, r"has 3, which is not a limit: write limits=\[Concurrency\(2\)\]"),
        ([2], r"has 2, which is not a limit: write limits=\[Concurrency\(2\)\]"),
        ([Concurrency(1, name=f"n{number}") for number in range(9)], "at most 8 limits"),
    ],
)
def test_wrong_limits_are_refused_at_decoration(limits: list[Concurrency], said: str) -> None:
    """Not at the first call."""
    queue = TaskQueue("memory://", stream_key="limits")

    def job(customer: int) -> None: ...

    with pytest.raises(ConfigurationError, match=said):
        queue.task(name="job", limits=limits)(job)


@pytest.mark.parametrize("number", [-1, 1.5, "2", True])
def test_wrong_numbers_are_refused(number: object) -> None:
    """By `set`, too."""
    queue = TaskQueue("memory://", stream_key="limits")
    with pytest.raises(ConfigurationError, match="whole number of tasks"):
        queue.limits.set("one", concurrency=number)  # type: ignore[call-overload] # also wrong ones
    with pytest.raises(ConfigurationError, match="for one gate, give the key apart"):
        queue.limits.set("one/two", concurrency=1)


@pytest.mark.parametrize("value", ["", "a", "a/b c", "ü" * 64, "x" * 65, "~", "a\nb", "\0", None, 1.5, "\ud800"])
def test_any_value_makes_a_key(value: object) -> None:
    """Keys are escaped, or a hash if they are long, and no two short values share one."""
    key = gate_key(value)

    assert GATE_PATTERN.fullmatch(f"limit/{key}")
    assert key != gate_key(f"{value}!")


def test_a_store_without_limits_says_so() -> None:
    """The first call of a task with limits is refused."""

    class Plain(MemoryBackend):
        def limits(self) -> None:  # type: ignore[override]
            return None

    queue = TaskQueue(broker=Plain(MemoryStore(), StoreOptions()))

    @queue.task(name="one", limits=[Concurrency(1)])
    def one() -> None: ...

    with pytest.raises(ConfigurationError, match="cannot keep limits"):
        one()
    with pytest.raises(ConfigurationError, match="cannot keep limits"):
        queue.limits.list()
