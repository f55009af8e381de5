"""Eager tasks take the way that a worker's tasks take, in the caller's thread."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from pyxqueue import (
    EagerSession,
    Progress,
    Reject,
    ResultTimeoutError,
    SerializationError,
    TaskError,
    TaskQueue,
    TaskSettled,
    TaskStarted,
    TaskStatus,
    UnknownTaskError,
    current_task,
    eager_mode,
    progress,
)


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue("eager-tests")


def test_a_task_has_run_when_the_call_returns(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """It runs without a wait for its result."""
    threads = []

    @queue.task
    def note() -> None:
        threads.append(threading.current_thread())

    handle = note()

    assert threads == [threading.current_thread()]
    assert handle.state.name == "SUCCESS"
    assert handle.get() is None


def test_arguments_and_results_are_serialized(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A task that changes its argument changes a copy, and its result is another object too."""
    kept: list[list[int]] = []

    @queue.task
    def extend(numbers: list[int]) -> list[int]:
        numbers.append(2)
        kept.append(numbers)
        return numbers

    given = [1]
    result = extend(given).get()

    assert given == [1]
    assert result == [1, 2]
    assert result is not kept[0]


def test_what_does_not_travel_is_refused_at_the_call(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The call raises an error, as with a server, and the task does not run."""
    runs = []

    @queue.task
    def take(value: object) -> None:
        runs.append(value)

    with pytest.raises(SerializationError, match=r"cannot enqueue .*take: args\[0\]"):
        take(threading.Lock())
    assert runs == []


def test_a_result_that_does_not_travel_fails_the_task(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The task fails, because only its worker can see the result."""

    @queue.task
    def give() -> object:
        return threading.Lock()

    with pytest.raises(TaskError, match=r"the return value of .*give cannot be stored: .*lock") as caught:
        give().get()
    assert caught.value.type == "pyxqueue.errors.SerializationError"


def test_a_failure_waits_for_its_reader(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The call succeeds; `get` raises what a worker would have stored."""

    @queue.task
    def fail() -> None:
        raise ValueError("no such user")

    handle = fail()

    assert handle.state.name == "FAILURE"
    with pytest.raises(TaskError) as caught:
        handle.get()
    assert caught.value.error == "ValueError: no such user"
    assert "in fail" in caught.value.traceback


@pytest.mark.parametrize("late", [False, True], ids=["from the start", "set later"])
def test_propagate_raises_the_exception_itself(queue: TaskQueue, late: bool) -> None:
    """The exception comes out of the call that ran the task."""
    error = LookupError("gone")

    @queue.task
    def fail() -> None:
        raise error

    with eager_mode(propagate=not late) as session:
        session.propagate = True
        with pytest.raises(LookupError) as caught:
            fail()
    assert caught.value is error


def test_propagate_waits_for_the_last_try(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A failure that is retried is not raised."""
    pyxqueue_eager.propagate = True

    @queue.task(retries=1, backoff=10)
    def fail() -> None:
        raise LookupError

    handle = fail()
    assert handle.state.name == "RETRY"
    with pytest.raises(LookupError):
        pyxqueue_eager.advance(10)


def test_propagate_leaves_signals_alone(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A task that rejects itself has ended as its author wanted."""
    pyxqueue_eager.propagate = True

    @queue.task
    def reject() -> None:
        raise Reject("not today")

    assert reject().state.name == "FAILURE"


def test_ctrl_c_is_for_the_program(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """Ctrl-C in a task ends the drain at once, and no further task runs."""
    ran = []

    @queue.task
    def interrupted(number: int) -> None:
        ran.append(number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.map([(1,), (2,)])
    assert ran == [1]


def test_a_task_may_wait_for_another(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """Tasks may wait for each other, nested to any depth."""

    @queue.task
    def factorial(n: int) -> int:
        return n * factorial(n - 1).get() if n else 1

    assert factorial(6).get() == 720


def test_what_a_task_enqueues_runs_after_it(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A task that is not waited for runs after the one that enqueued it."""
    order = []

    @queue.task
    def child() -> None:
        order.append("child")

    @queue.task
    def parent() -> TaskStatus:
        state = child().state
        order.append("parent")
        return state

    assert parent().get() is TaskStatus.PENDING
    assert order == ["parent", "child"]


def test_a_long_chain_needs_no_deep_stack(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A chain of tasks that each enqueue the next may be longer than Python's stack is deep."""
    pages = []

    @queue.task
    def crawl(left: int) -> None:
        pages.append(left)
        if left:
            crawl(left - 1)

    crawl(1_000)

    assert pages == list(range(1_000, -1, -1))


def test_many_tasks_that_wait_do_not_nest(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """While one waits for its child, its siblings are left for later."""

    @queue.task
    def child(n: int) -> int:
        return n

    @queue.task
    def parent(n: int) -> int:
        return child(n).get()

    @queue.task
    def start() -> int:
        return sum(handle.get() for handle in parent.map([(n,) for n in range(300)]))

    assert start().get() == sum(range(300))


def test_a_task_outlives_any_lease_while_it_waits(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """Waiting moves the clock past the end of the lease, and the waiting task still runs once."""
    runs = []

    @queue.task
    def child() -> str:
        return "done"

    @queue.task
    def parent() -> str:
        runs.append(current_task().attempt)
        return child.with_options(delay=3600)().get()

    assert parent().get() == "done"
    assert runs == [1]


def test_a_queue_of_its_own_session_inside_another(pyxqueue_eager: EagerSession) -> None:
    """A task of one eager queue enqueues on another, and does not have to wait for it."""
    ran = []
    first, second = TaskQueue("a"), TaskQueue("b")

    @second.task
    def inner() -> None:
        ran.append("inner")

    @first.task
    def outer() -> None:
        inner()
        ran.append("outer")

    outer()
    assert ran == ["outer", "inner"]


def test_two_eager_queues_without_a_common_session() -> None:
    """Each queue drains itself, also from inside a task of the other."""
    ran = []
    first, second = TaskQueue("a", eager=True), TaskQueue("b", eager=True)

    @second.task
    def inner() -> None:
        ran.append("inner")

    @first.task
    def outer() -> None:
        inner()
        ran.append("outer")

    outer()
    assert ran == ["inner", "outer"]


@pytest.mark.parametrize("how", ["get", "watch"])
def test_a_task_that_waits_for_itself_is_told(queue: TaskQueue, pyxqueue_eager: EagerSession, how: str) -> None:
    """It raises an error; in a worker it would wait for ever."""

    @queue.task
    def child(task_id: str) -> None:
        handle = queue.result(task_id)
        handle.get() if how == "get" else list(handle.watch())

    @queue.task
    def parent() -> None:
        child(current_task().id).get()

    with pytest.raises(TaskError, match="has not ended and nothing is left to run"):
        parent().get()


def test_an_unknown_id_is_told(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """No caller waits for it, and the clock does not move."""
    with pytest.raises(UnknownTaskError, match="no task has the id 'nope'"):
        queue.result("nope").get()


def test_a_result_that_was_forgotten_is_unknown(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The task has ended, so the wait ends without moving the clock."""

    @queue.task
    def one() -> int:
        return 1

    handle = one()
    one.with_options(delay=60, task_id="later")()
    handle.forget()

    with pytest.raises(UnknownTaskError):
        handle.get()
    assert queue.result("later").state.name == "PENDING"


def test_progress_is_kept(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The last progress stays with the record."""

    @queue.task
    def work() -> None:
        for step in range(3):
            progress(step, 3, "working")

    assert work().progress == Progress(2, 3, "working")


def test_the_observer_is_told(pyxqueue_eager: EagerSession) -> None:
    """The observer gets the start and the end, as in a worker."""
    events: list[object] = []
    queue = TaskQueue("observed", observer=events.append)

    @queue.task
    def work() -> None: ...

    work()

    assert [type(event) for event in events] == [TaskStarted, TaskSettled]


def test_a_retry_by_hand_runs_at_once(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """`retry_task` runs the task, as a call does."""
    results = [ValueError("first"), None]

    @queue.task
    def work() -> str:
        if error := results.pop(0):
            raise error
        return "second"

    handle = work()
    again = queue.retry_task(handle.task_id)

    assert again.task_id == handle.task_id
    assert again.get() == "second"


def test_a_handle_of_a_failed_wait_says_which(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """If the timeout ends before the task is due, the clock moves by the timeout alone."""

    @queue.task
    def later() -> None: ...

    handle = later.with_options(delay=60)()
    before = pyxqueue_eager.clock()
    with pytest.raises(ResultTimeoutError, match="has not ended within 5 s: it is PENDING"):
        handle.get(timeout=5)
    assert pyxqueue_eager.clock() - before <= 5_000


def test_sessions_do_not_share(queue: TaskQueue) -> None:
    """A task that was enqueued in one test is unknown in the next."""

    @queue.task
    def work() -> None: ...

    with eager_mode():
        task_id = work().task_id
        assert queue.get_task(task_id)["info"]["state"] == 5
    with eager_mode(), pytest.raises(UnknownTaskError):
        queue.get_task(task_id)


def test_an_inner_session_gives_way_to_the_outer(queue: TaskQueue) -> None:
    """`eager_mode` may be nested, and ends with the outermost."""
    with eager_mode() as outer:
        with eager_mode() as inner:
            assert queue.eager is inner
        assert queue.eager is outer
    assert queue.eager is None


def test_earlier_attempts_are_kept(
    queue: TaskQueue, pyxqueue_eager: EagerSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with workers: what each raised, when and where, the newest five."""
    monkeypatch.setenv("PYXQUEUE_HOST", "web1")

    @queue.task(retries=7, backoff=10)
    def broken() -> None:
        raise ValueError(f"no {current_task().attempt}")

    handle = broken()
    with pytest.raises(TaskError):
        handle.get()

    details = queue.admin.task(handle.task_id)
    assert handle.state is TaskStatus.FAILURE
    assert [(one.attempt, one.type, one.text) for one in details.attempts] == [
        (number, "ValueError", f"no {number}") for number in range(3, 8)
    ]
    assert {one.host for one in details.attempts} == {"web1"}
    ends = [one.when_ms for one in details.attempts]
    assert all(later - earlier >= 5_000 for earlier, later in pairwise(ends)), "the pauses between them"
