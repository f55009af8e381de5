"""The priority of tasks and calls, as an application sees it."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue import ArgumentError, ConfigurationError, EagerSession, RetryLater, TaskQueue, current_task
from pyxqueue.testing import drain


def priorities(queue: TaskQueue) -> dict[str, int]:
    """Of the tasks that wait, by their first argument."""
    shown = [queue.admin.task(one.id) for one in queue.admin.tasks().tasks]
    return {one.args[0]: message.priority for one in shown if (message := one.info.readable)}


def test_a_call_has_the_priority_of_its_task(queue: TaskQueue) -> None:
    """Unless it is given one of its own, 0 included; so do calls of `map`."""

    @queue.task(priority=-10)
    def work(name: str) -> None: ...

    @queue.task
    def plain(name: str) -> None: ...

    work("of the task")
    work.with_options(priority=100)("of the call")
    work.with_options(priority=0)("none")
    work.with_options(priority=7).map([("of the first",), ("of the second",)])
    plain("plain")

    assert priorities(queue) == {
        "of the task": -10, "of the call": 100, "none": 0, "of the first": 7, "of the second": 7, "plain": 0,
    }  # fmt: skip


def test_the_highest_class_runs_first(queue: TaskQueue) -> None:
    """Whatever the order of the calls; and what is tried again is before all of a lower class."""
    ran: list[str] = []

    @queue.task(retries=2)
    def work(name: str) -> None:
        ran.append(name)
        if name == "high" and current_task().attempt == 1:
            raise RetryLater(0)

    for priority, name in ((-100, "lowest"), (0, "plain"), (-1, "low"), (50, "highest"), (1, "high")):
        work.with_options(priority=priority)(name)
    drain(queue)

    assert ran == ["highest", "high", "high", "plain", "low", "lowest"]


def test_eager_mode_runs_in_order(pyxqueue_eager: EagerSession) -> None:
    """What a task enqueues runs by its class when the task has ended."""
    queue, ran = TaskQueue("eager-priorities"), list[str]()

    @queue.task
    def child(name: str) -> None:
        ran.append(name)

    @queue.task
    def parent() -> None:
        for priority, name in ((-60, "lowest"), (0, "plain"), (60, "highest"), (0, "last")):
            child.with_options(priority=priority)(name)

    parent()

    assert ran == ["highest", "plain", "last", "lowest"]


@pytest.mark.parametrize("priority", [101, -101, 0.5, "high", None, True])
def test_a_priority_out_of_range_is_refused_at_decoration(queue: TaskQueue, priority: Any) -> None:
    """The error names the range."""
    with pytest.raises(ConfigurationError, match=r"priority=.* must be a whole number from -100 to 100"):

        @queue.task(priority=priority)
        def work() -> None: ...


@pytest.mark.parametrize("priority", [101, -101, 1.0, "9"])
def test_a_call_with_a_priority_out_of_range_is_refused(queue: TaskQueue, priority: Any) -> None:
    """Before anything is enqueued."""

    @queue.task
    def work() -> None: ...

    with pytest.raises((ArgumentError, ConfigurationError), match=r"priority=.* must be a whole number"):
        work.with_options(priority=priority)()
    assert not queue.admin.tasks().tasks


def test_explain_counts_what_comes_before(queue: TaskQueue) -> None:
    """Tasks of a higher class, also later ones, and earlier ones of the same class; not those of a lower one, and none
    that is delayed."""

    @queue.task
    def work() -> None: ...

    first = {number: work.with_options(priority=number)() for number in (-60, 60, 0)}
    work.with_options(priority=60, delay=60)()
    later = {number: work.with_options(priority=number)() for number in (0, 60, -60)}

    def before(handles: dict[int, Any]) -> dict[int, str]:
        return {number: queue.admin.explain(one.task_id).reasons[0] for number, one in handles.items()}

    def told(number: int) -> str:
        return f"ready, about {number} before it"

    assert before(first) == {60: told(0), 0: told(2), -60: told(4)}
    assert before(later) == {60: told(1), 0: told(3), -60: told(5)}
