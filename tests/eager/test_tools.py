"""`drain` and `assert_enqueued`, for the tests of applications."""

from __future__ import annotations

import pytest

from pyxqueue import ArgumentError, EagerSession, PickleSerializer, Seal, TaskQueue
from pyxqueue.testing import assert_enqueued, drain


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue("memory://", stream_key="tools")


def test_drain_runs_what_is_ready(queue: TaskQueue) -> None:
    """`drain` also runs what these tasks enqueue, but nothing that is delayed."""
    runs = []

    @queue.task
    def work(n: int) -> None:
        runs.append(n)
        if n:
            work(n - 1)

    work(2)
    later = work.with_options(delay=60)(9)

    assert drain(queue) == 3
    assert runs == [2, 1, 0]
    assert later.state.name == "PENDING"
    assert drain(queue) == 0


def test_drain_leaves_no_worker_behind(queue: TaskQueue) -> None:
    """The worker is gone when `drain` returns."""
    drain(queue)

    assert queue.get_workers() == {}


def test_an_enqueued_call_is_found(queue: TaskQueue) -> None:
    """The call is found however it was written, wherever its task is; the handle is that of the latest."""

    @queue.task
    def send(address: str, copies: int = 1) -> str:
        return address * copies

    send("ada")
    latest = send(copies=1, address="ada")
    send("bob")

    assert assert_enqueued(queue, send, "ada") == latest
    drain(queue)
    assert assert_enqueued(queue, send, "ada", 1).get() == "ada"


def test_an_enqueued_call_is_found_in_eager_mode(pyxqueue_eager: EagerSession) -> None:
    """The call is found although its task has run already."""
    queue = TaskQueue("tools")

    @queue.task
    def send(address: str) -> str:
        return f"to {address}"

    send("ada")

    assert assert_enqueued(queue, send, "ada").get() == "to ada"


def test_a_missing_call_is_reported_with_what_there_is(queue: TaskQueue) -> None:
    """The error lists the calls that there are, so that the difference can be seen."""
    send = queue.task(name="send")(lambda address, copies=1: None)
    other = queue.task(name="other")(lambda address: None)
    send("ada", copies=2)
    other("bob")

    with pytest.raises(AssertionError) as caught:
        assert_enqueued(queue, send, "bob")

    assert str(caught.value) == (
        "send('bob') was not enqueued; there is\n  other('bob') (PENDING)\n  send('ada', copies=2) (PENDING)"
    )


def test_a_missing_call_among_none(queue: TaskQueue) -> None:
    """The error says that the queue is empty."""
    send = queue.task(name="send")(lambda: None)

    with pytest.raises(AssertionError, match=r"send\(\) was not enqueued; there is\n  nothing$"):
        assert_enqueued(queue, send)


def test_a_long_list_is_cut(queue: TaskQueue) -> None:
    """After twenty lines the error has the number of the others."""
    send = queue.task(name="send")(lambda n: None)
    send.map([(n,) for n in range(150)])

    with pytest.raises(AssertionError, match=r"\n  and 130 more$"):
        assert_enqueued(queue, send, -1)
    assert assert_enqueued(queue, send, 0).state.name == "PENDING"


def test_a_call_that_cannot_be_is_a_mistake_of_the_test(queue: TaskQueue) -> None:
    """A call that does not fit the function is an error of its own."""
    send = queue.task(name="send")(lambda address: None)

    with pytest.raises(ArgumentError, match=r"send\('ada', copies=2\) is not a call that send\(address\) takes"):
        assert_enqueued(queue, send, "ada", copies=2)  # type: ignore[call-arg]


def test_what_cannot_be_read_is_listed_as_such(pyxqueue_eager: EagerSession) -> None:
    """A body of another serializer or key; arguments that do not fit are shown as they are."""
    ours = TaskQueue("tools", seal=Seal("k" * 16))
    pickled = TaskQueue("tools", seal=Seal("k" * 16), serializer=PickleSerializer())
    stolen = TaskQueue("tools", seal=Seal("o" * 16))
    unreadable = [other.task(name="other")(lambda: None)() for other in (pickled, stolen)]
    older = TaskQueue("tools", seal=Seal("k" * 16)).task(name="send")(lambda a, b: None)
    older.with_options(delay=1)(1, 2)
    send = ours.task(name="send")(lambda a: None)

    with pytest.raises(AssertionError) as caught:
        assert_enqueued(ours, send, 1)
    lines = str(caught.value).splitlines()[1:]
    assert sorted(lines) == sorted(
        ["  send(1, 2) (PENDING)", *(f"  {handle.task_id}, unreadable ({handle.state.name})" for handle in unreadable)]
    )
