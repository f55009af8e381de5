"""Queues that name the same store and stream share it in eager mode, as they would share a server."""

from __future__ import annotations

import pytest

from pyxqueue import EagerSession, TaskQueue, UnknownTaskError


def test_every_group_gets_every_task(pyxqueue_eager: EagerSession) -> None:
    """Each group runs its own copy, under the same id."""
    orders = TaskQueue("events", consumer_group="orders")
    audit = TaskQueue("events", consumer_group="audit")
    seen = []
    placed = orders.task(name="order.placed")(lambda n: seen.append(("orders", n)))
    audit.task(name="order.placed")(lambda n: seen.append(("audit", n)))
    audit.task_total()  # a group gets what is enqueued after its first use

    handle = placed(7)

    assert sorted(seen) == [("audit", 7), ("orders", 7)]
    assert audit.get_task(handle.task_id)["info"]["state"] == 5


def test_groups_fail_apart(pyxqueue_eager: EagerSession) -> None:
    """A failure in one group does not show in the other."""
    orders = TaskQueue("events", consumer_group="orders")
    audit = TaskQueue("events", consumer_group="audit")

    def fail() -> None:
        raise ValueError

    placed = orders.task(name="order.placed")(lambda: None)
    audit.task(name="order.placed")(fail)
    audit.task_total()
    task_id = placed().task_id

    assert orders.result(task_id).state.name == "SUCCESS"
    assert audit.result(task_id).state.name == "FAILURE"


def test_two_objects_of_one_queue_see_the_same_tasks(pyxqueue_eager: EagerSession) -> None:
    """One enqueues, the other looks the result up; each runs the tasks that it knows."""
    here, there = TaskQueue("shop"), TaskQueue("shop")
    first = here.task(name="first")(lambda: "first")
    second = there.task(name="second")(lambda: "second")
    one, two = first.with_options(delay=60)(), second.with_options(delay=60)()
    pyxqueue_eager.advance(60)

    assert there.result(one.task_id).get() == "first"
    assert here.result(two.task_id).get() == "second"
    assert pyxqueue_eager.clock() == 1_700_000_060_000  # nobody handed anything back


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TaskQueue("a"), TaskQueue("b")),
        (TaskQueue("redis://one", stream_key="a"), TaskQueue("redis://two", stream_key="a")),
    ],
    ids=["stream", "store"],
)
def test_other_queues_are_apart(pyxqueue_eager: EagerSession, one: TaskQueue, other: TaskQueue) -> None:
    """A queue of another name or another store is another queue."""
    task_id = one.task(name="work")(lambda: None)().task_id

    with pytest.raises(UnknownTaskError):
        other.get_task(task_id)


def test_a_task_nobody_knows_ends_among_the_failed(pyxqueue_eager: EagerSession) -> None:
    """The message is deferred for a while, as with workers, and then fails with the reason."""
    queue = TaskQueue("shop")
    work = queue.task(name="work")(lambda: None)
    handle = work.with_options(delay=1)()
    queue.core.registry._tasks.clear()

    with pytest.raises(Exception, match="no task 'work' is registered here"):
        handle.get()
