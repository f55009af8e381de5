"""Flows and what they meet, cell by cell, on every store: how each kind of end, and each thing that is no end, reaches
the successors; what features of a task a successor has; and the ways in which flows of other programs hang."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from attrs import frozen

from pyxqueue.errors import ConfigurationError
from pyxqueue.model.flows import UNFINISHED_MS, many
from pyxqueue.model.limits import task_gate
from pyxqueue.model.message import FLOW_VERSION, Cancelled, Delivery, Message, StartStatus, TaskStatus, evolve
from pyxqueue.protocols import Backend, Beginning, HasFlows, limit_pausing_of
from pyxqueue.testing.contract import Harness
from pyxqueue.testing.contract.flows import flow
from pyxqueue.testing.contract.steps import decided, defer, done, fail, ids_of, job, limited, retry, take, tokens
from pyxqueue.testing.memory import MemoryHarness

from .conftest import Servers
from .support.redis_harness import RedisHarness
from .support.sqlite_harness import SQLiteHarness

HOUR = 3_600_000
LATER = 20_000
"""Longer than a test takes where the clock goes on by itself, and shorter than a lease."""


@pytest.fixture(params=["memory", "sqlite", "redis"])
def harness(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Harness]:
    if request.param == "memory":
        yield MemoryHarness()
    elif request.param == "sqlite":
        with closing(SQLiteHarness()) as found:
            yield found
    else:
        with closing(RedisHarness(redis.Redis.from_url(servers("valkey").url))) as found:
            yield found


@frozen
class Scene:
    """A task `a` with three successors: of the policies fail (f), continue (c) and wait (w)."""

    harness: Harness
    backend: Any

    def held(self) -> Delivery:
        (delivery,) = [one for one in take(self.backend) if one.message.id == "a"]
        return delivery

    def settle(self, make: Callable[[Delivery], Any]) -> Delivery:
        held = self.held()
        assert list(self.backend.settle([make(held)])) == [True]
        return held

    def failed(self) -> None:
        """`a` fails, and those that it dooms fail too."""
        self.settle(fail)
        self.backend.settle([fail(one) for one in take(self.backend)])

    def states(self) -> str:
        """For each successor: `-` if it waits, `+` if it is ready, `!` if it is ready but doomed, or its status."""
        texts = []
        for info in self.backend.show(["f", "c", "w"]):
            assert info is not None
            message = info.message
            assert isinstance(message, Message)
            if info.status is not TaskStatus.PENDING:
                texts.append(info.status.name[0])
            else:
                texts.append("-" if info.waits_for else "!" if message.doomed else "+")
        return "".join(texts)


def scene(harness: Harness, **headers: Any) -> Scene:
    found = Scene(harness, harness.open())
    assert all(found.backend.enqueue(flow("af:f", "ac:c", "aw:w", name="flow-1", **headers)))
    return found


def lease_ends(one: Scene) -> None:
    one.held()
    one.harness.advance(one.harness.lease + 1)
    one.harness.open().claim("other", 0, 0)
    one.backend.maintain(256)


def zombie(one: Scene) -> None:
    old = one.held()
    one.backend.release("one", [])
    one.held()
    assert list(one.backend.settle([done(old), fail(old)])) == [False, False]


def repeated(one: Scene) -> None:
    held = one.settle(retry)
    assert list(one.backend.settle([retry(held), done(held)])) == [False, False]


def requeued(one: Scene) -> None:
    one.failed()
    assert list(one.backend.requeue(["a"])) == [True]


def requeued_and_done(one: Scene) -> None:
    requeued(one)
    one.settle(done)


def failed_and_deleted(one: Scene) -> None:
    one.failed()
    assert list(one.backend.delete(["a"])) == [True]


def adopted(one: Scene) -> None:
    (info,) = one.backend.show(["f"])
    with pytest.raises(ConfigurationError, match="flow"):
        one.harness.open("other").adopt([info])


def cancelled_in_flight(one: Scene) -> None:
    held = one.held()
    one.backend.cancel(["a"])
    one.backend.settle([defer(held)])


def promoted(one: Scene) -> None:
    one.settle(lambda held: retry(held, LATER))
    one.harness.advance(LATER + 1)
    one.backend.maintain(256)


CELLS: dict[str, tuple[Callable[[Scene], object], str]] = {
    "done": (lambda one: one.settle(done), "+++"),
    "retry without a delay": (lambda one: one.settle(retry), "---"),
    "retry with a delay": (lambda one: one.settle(lambda held: retry(held, HOUR)), "---"),
    "deferral": (lambda one: one.settle(defer), "---"),
    "release": (lambda one: (one.held(), one.backend.release("one", [])), "---"),
    "release of a started task": (lambda one: one.backend.release("one", [one.held().receipt]), "---"),
    "end of a lease": (lease_ends, "---"),
    "failure": (lambda one: one.settle(fail), "!+-"),
    "requeue": (requeued, "FF-"),
    "requeue, then done": (requeued_and_done, "FF+"),
    "abort by the task": (lambda one: one.settle(lambda held: decided(held, Cancelled())), "!+!"),
    "cancellation of a waiting task": (lambda one: one.backend.cancel(["a"]), "!+!"),
    "cancellation of one in flight": (cancelled_in_flight, "!+!"),
    "deletion of a waiting task": (lambda one: one.backend.delete(["a"]), "!+!"),
    "deletion of one that was done": (lambda one: (one.settle(done), one.backend.delete(["a"])), "+++"),
    "deletion of a failed one": (failed_and_deleted, "FF!"),
    "promotion": (promoted, "---"),
    "adoption": (adopted, "---"),
    "settlement of a zombie": (zombie, "---"),
    "repeated settlement": (repeated, "---"),
}


@pytest.mark.parametrize("event", CELLS)
def test_what_successors_learn(harness: Harness, event: str) -> None:
    """Each event in the life of a task, and what becomes of its successors in the same step."""
    one = scene(harness)
    do, wanted = CELLS[event]

    do(one)

    assert one.states() == wanted


def test_an_expiry_reaches_the_successors(harness: Harness) -> None:
    """While the task waits, and when it is about to start."""
    one = scene(harness, a={"lifetime_ms": LATER})
    harness.advance(LATER + 1)
    one.backend.maintain(256)
    assert one.states() == "!+!"


def test_an_expiry_at_the_start_reaches_the_successors(harness: Harness) -> None:
    one = scene(harness, a={"lifetime_ms": LATER})
    held = one.held()
    harness.advance(LATER + 1)
    assert isinstance(one.backend, Beginning)
    assert list(one.backend.begin([held.receipt])) == [StartStatus.EXPIRED]
    assert one.states() == "!+!"


# What applies to a task applies to a successor.


def test_a_successor_has_its_priority(harness: Harness) -> None:
    one = scene(harness, w={"priority": 80}, c={"priority": -80})
    one.settle(done)
    one.backend.enqueue([job("plain")])
    assert ids_of(take(harness.open())) == ["w", "f", "plain", "c"]


def test_a_successor_expires(harness: Harness) -> None:
    """While it waits: its own successors learn of it."""
    backend = harness.open()
    backend.enqueue(flow("ab:f", "bc:f", b={"lifetime_ms": LATER}))
    harness.advance(LATER + 1)
    backend.maintain(256)
    infos = [info.status.name for info in backend.show(["a", "b", "c"]) if info is not None]
    assert infos == ["PENDING", "CANCELLED", "PENDING"]
    assert {one.message.id: getattr(one.message, "doomed", "") for one in take(backend)} == {"a": "", "c": "b"}


def test_a_successor_waits_for_its_limit(harness: Harness) -> None:
    """It takes a token when it is ready, and not before; if there is none, it stands in the line."""
    backend = harness.open()
    limits = limited(backend, api=1)
    assert limits is not None
    backend.enqueue(flow("ab:f", "ac:f", b={"gates": ("api/k",)}, c={"gates": ("api/k",)}))
    assert tokens(limits) == {}
    (held,) = take(backend)
    backend.settle([done(held)])
    (first,) = take(backend)
    assert tokens(limits) == {"api/k": (1, 1)}
    backend.settle([done(first)])
    (second,) = take(backend)
    assert {first.message.id, second.message.id} == {"b", "c"}


@pytest.mark.parametrize("doomed", [False, True], ids=["free", "doomed"])
@pytest.mark.parametrize("what", ["queue", "name", "limit"])
def test_a_successor_waits_for_the_end_of_a_pause(harness: Harness, what: str, doomed: bool) -> None:
    """Of its queue, its name, or its limit: it becomes ready in the pause, and starts after it. One that is doomed
    waits for that of the queue alone."""
    backend: Any = harness.open()
    pauses, gates = limit_pausing_of(backend), ("api/k",) if what == "limit" else ()
    assert pauses is not None
    first, second = flow("ab:f", b={"gates": gates})[::-1]
    backend.enqueue([evolve(second, name="shop.second"), first])
    gate = {"name": task_gate("shop.second"), "limit": "api"}.get(what, "")
    (held,) = take(backend)
    assert pauses.pause(gate) if gate else backend.pause()

    backend.settle([fail(held) if doomed else done(held)])

    asked = take(backend)
    if doomed and what != "queue":  # it fails without being started
        assert [(one.message.id, getattr(one.message, "doomed", "")) for one in asked] == [("b", "a")]
        return
    assert [one.message.id for one in asked] == (["b"] if what == "name" else [])
    assert [status.name for status in backend.begin([one.receipt for one in asked])] == ["LATER"] * len(asked)
    assert not take(backend)
    assert pauses.resume(gate) if gate else backend.resume()
    (start,) = take(backend)
    assert isinstance(start.message, Message)
    assert (start.message.id, start.message.doomed) == ("b", "a" if doomed else "")


def test_a_successor_has_its_delay(harness: Harness) -> None:
    """From the time at which the flow was enqueued."""
    one = scene(harness, f={"delay_ms": HOUR})
    one.settle(done)
    assert sorted(ids_of(take(one.backend))) == ["c", "w"]
    harness.advance(HOUR)
    assert "f" in ids_of(take(harness.open(), consumer="other"))


# How flows of other programs hang, or start twice.


def test_a_counter_is_not_lowered_twice(harness: Harness) -> None:
    """By a settlement that is repeated, by one of a zombie, or by a task that ends a second time."""
    backend = harness.open()
    backend.enqueue(flow("ac:c", "bc:c"))
    one, two = take(backend)
    assert list(backend.settle([fail(one), fail(one), done(one)])) == [True, False, False]
    for _ in range(3):
        backend.requeue([one.message.id])
        backend.settle([fail(held) for held in take(backend)])
    assert not take(backend)
    backend.settle([done(two)])
    assert ids_of(take(backend)) == ["c"]


def test_a_child_ends_before_the_others_are_stored(harness: Harness) -> None:
    """Its record and its message are gone when the rest of the flow comes."""
    backend = harness.open(history=1)
    last, second, first = flow("ac:f", "bc:f")
    backend.enqueue([last, first])
    backend.settle([done(one) for one in take(backend)])
    backend.forget(["a"])
    backend.delete(["a"])
    backend.enqueue([second])
    backend.settle([done(one) for one in take(backend)])
    assert ids_of(take(backend)) == ["c"]


@pytest.mark.parametrize("how", ["delete", "cancel"])
def test_all_children_are_cleared_away(harness: Harness, how: str) -> None:
    """Whoever empties a queue task by task ends the task that waits for them too."""
    backend = harness.open()
    children = [job(f"z.{number}", flow="one", successors=("f:z",), v=FLOW_VERSION) for number in range(40)]
    backend.enqueue([job("z", flow="one", after=(many("z", 40),), v=FLOW_VERSION), *children])
    getattr(backend, how)([f"z.{number}" for number in range(40)])
    (held,) = take(backend)
    assert isinstance(held.message, Message)
    assert (held.message.id, held.message.doomed) == ("z", "z.0")


def test_a_child_fails_without_a_policy(harness: Harness) -> None:
    """The default of an edge is that the successor fails, with the cause."""
    one = scene(harness)
    one.failed()
    (info,) = one.backend.show(["f"])
    assert info is not None
    assert info.readable is not None
    assert (info.status, info.readable.doomed) == (TaskStatus.FAILURE, "a")


def test_children_lose_their_workers_until_they_fail(harness: Harness) -> None:
    """Each loss is no end; the failure after the last one is."""
    one = scene(harness)
    for crashes in range(3):
        held = one.held()
        assert isinstance(held.message, Message)
        assert (held.message.crashes, one.states()) == (crashes, "---")
        one.backend.release("one", [held.receipt])
    one.settle(fail)
    assert one.states() == "!+-"


def test_a_child_is_retried_in_the_middle(harness: Harness) -> None:
    """The structure of the flow stays: who has not started waits for the child again, and starts once."""
    backend = harness.open()
    backend.enqueue(flow("ac:c", "bc:c", "cd:f"))
    one, two = take(backend)
    backend.settle([fail(one)])
    backend.requeue([one.message.id])
    backend.settle([done(two)])
    (again,) = take(backend)
    assert again.message.id == one.message.id
    backend.settle([done(again)])
    for wanted in (["c"], ["d"], []):
        found = take(backend)
        assert ids_of(found) == wanted
        backend.settle([done(held) for held in found])


def test_a_creator_dies(harness: Harness) -> None:
    """What waits for children that were never stored fails with words; those that were stored run."""
    backend = harness.open()
    child = job("z.0", flow="one", successors=("f:z",), v=FLOW_VERSION)
    backend.enqueue([job("z", flow="one", after=(many("z", 3),), v=FLOW_VERSION), child])
    backend.settle([done(one) for one in take(backend)])
    harness.advance(UNFINISHED_MS + 1)
    (held,) = take(backend)
    assert isinstance(held.message, Message)
    assert (held.message.id, held.message.doomed) == ("z", "1 of 3 predecessors")


def test_a_failure_goes_down_a_long_chain_step_by_step(harness: Harness) -> None:
    """Each end readies one task, so that no step grows with the graph."""
    backend, count = harness.open(), 60
    ids = [f"t{number}" for number in range(count)]
    backend.enqueue([
        job(
            one,
            flow="one",
            after=(ids[number - 1],) if number else (),
            successors=(f"f:{ids[number + 1]}",) if number + 1 < count else (),
            v=FLOW_VERSION,
        )
        for number, one in reversed(list(enumerate(ids)))
    ])  # fmt: skip
    for one in ids:
        found = take(backend)
        assert ids_of(found) == [one]
        backend.settle([fail(held) for held in found])
    assert backend.depth().failed == count


def test_whoever_stored_a_chord_is_gone(harness: Harness) -> None:
    """The store counts its children: the handle that stored them is closed, and another one settles them."""
    creator: Backend = harness.open()
    children = [job(f"z.{number}", flow="one", successors=("f:z",), v=FLOW_VERSION) for number in range(5)]
    creator.enqueue([job("z", flow="one", after=(many("z", 5),), v=FLOW_VERSION), *children])
    creator.close()
    backend = harness.open()
    backend.settle([done(one) for one in take(backend)])
    assert ids_of(take(backend)) == ["z"]


def test_a_group_is_removed(harness: Harness) -> None:
    """With all that waits in it. A flow of the same ids in a new group of that name is another one."""
    backend = harness.open("gone")
    backend.enqueue(flow("ab:f"))
    backend.remove_group("gone")
    again = harness.open("gone")
    assert again.claim("one", 1, 0) == []
    again.enqueue(flow("ab:f", name="flow-2"))
    for wanted in "ab":
        (held,) = take(again)
        assert held.message.id == wanted
        again.settle([done(held)])


def test_a_retry_of_the_whole_flow_waits_for_what_runs(harness: Harness) -> None:
    """A task that was doomed joins it again behind one that has never stopped running."""
    backend = harness.open()
    backend.enqueue(flow("ac:f", "bc:f"))
    assert isinstance(backend, HasFlows)
    one, two = take(backend)
    backend.settle([fail(one)])
    backend.settle([fail(held) for held in take(backend)])
    assert list(backend.rejoin([one.message.id, "c"])) == [True, True]
    backend.settle([done(held) for held in take(backend)])
    assert not take(backend)
    backend.settle([done(two)])
    assert ids_of(take(backend)) == ["c"]
